package cli

import (
	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/ref"
)

func newKernelRm(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "rm REF...", Aliases: []string{"delete"}, Short: "Remove kernels that no VM and no image uses",
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.completeKernels(),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return fail(operation(cmd), "", err)
			}
			kernels, err := client.Kernels(cmd.Context())
			if err != nil {
				return fail(operation(cmd), "", err)
			}
			refs, display := once(args), a.display()
			defer display.Close()
			return a.each(display, operation(cmd), refs, func(i int) (string, error) {
				kernel, err := ref.Resolve("kernel", kernels, func(k api.Kernel) (string, string) { return k.ID, k.Name }, refs[i])
				if err != nil {
					return "", err
				}
				_, err = client.RemoveKernel(cmd.Context(), kernel.ID)
				return kernel.Name, err
			})
		},
	}
}
