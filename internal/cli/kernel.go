package cli

import (
	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
)

func newKernel(a *app) *cobra.Command {
	return newNoun("kernel", "Fetch, import, list and remove kernels",
		newKernelPull(a), newKernelImport(a), newKernelList(a), newKernelShow(a), newKernelRm(a))
}

// makeKernel runs an operation that makes a kernel and prints the kernel's name.
func (a *app) makeKernel(cmd *cobra.Command, subject string, run func(*api.Client, api.Progress) (api.Kernel, error)) error {
	client, err := a.client()
	if err != nil {
		return fail(operation(cmd), subject, err)
	}
	display := a.display()
	kernel, err := run(client, display.Task(join(operation(cmd), subject)).Report)
	display.Close()
	if err != nil {
		return fail(operation(cmd), subject, err)
	}
	return display.Print(a.out, kernel.Name+"\n")
}
