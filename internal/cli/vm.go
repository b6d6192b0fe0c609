package cli

import "github.com/spf13/cobra"

func newVM(a *app) *cobra.Command {
	return newNoun("vm", "Make, use and remove VMs",
		newVMRun(a), newVMCreate(a), newVMStart(a), newVMStop(a), newVMRestart(a), newVMKill(a), newVMDelete(a),
		newVMList(a), newVMShow(a), newVMLogs(a), newVMExec(a))
}
