package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/cli/terminal"
	"github.com/banger-dev/banger/internal/size"
)

func newVMList(a *app) *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List all VMs", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listVMs(cmd, f, true) },
	}
	f.register(cmd, "print ids only")
	return cmd
}

// listVMs prints all VMs or those that run.
func (a *app) listVMs(cmd *cobra.Command, f format, all bool) error {
	client, err := a.client()
	if err != nil {
		return fail(operation(cmd), "", err)
	}
	vms, err := client.VMs(cmd.Context())
	if err != nil {
		return fail(operation(cmd), "", err)
	}
	if !all {
		vms = slices.DeleteFunc(vms, func(vm api.VM) bool { return !alive(vm.State) })
	}
	switch {
	case f.json:
		return printJSON(a.out, vms)
	case f.quiet:
		for _, vm := range vms {
			if _, err := fmt.Fprintln(a.out, vm.ID); err != nil {
				return err
			}
		}
		return nil
	}
	t := table{header: []string{"NAME", "ID", "STATE", "IMAGE", "VCPU", "MEMORY", "CREATED"}}
	for _, vm := range vms {
		t.add(vm.Name, vm.ID, stateCell(a.style, vm), vm.Image, fmt.Sprint(vm.VCPU), size.Format(vm.Memory), age(vm.CreatedAt))
	}
	return t.print(a.out)
}

// alive tells whether a VM in this state has a machine.
func alive(s api.State) bool {
	return s == api.StateStarting || s == api.StateRunning || s == api.StatePaused
}

// stateCell says how a VM is, and why when it is not well.
func stateCell(style terminal.Style, vm api.VM) string {
	text := string(vm.State)
	switch vm.State {
	case api.StateRunning:
		return style.Good(text)
	case api.StateFailed:
		if vm.Exit != nil {
			text += " (" + strings.ToLower(vm.Exit.Reason) + ")"
		}
		return style.Bad(text)
	case api.StateStarting, api.StatePaused:
		return style.Doubtful(text)
	}
	return text
}
