package cli

import (
	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
)

func newKernelPull(a *app) *cobra.Command {
	var req api.KernelPull
	cmd := &cobra.Command{
		Use: "pull NAME", Short: "Fetch a kernel by its catalog name",
		Long: "Fetch a kernel by its catalog name:\n\n  debian-cloud  the kernel of Debian's signed package linux-image-cloud, through apt; it is not installed",
		Args: cobra.ExactArgs(1), ValidArgsFunction: fixed("debian-cloud"),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Name = args[0]
			return a.makeKernel(cmd, req.Name, func(c *api.Client, progress api.Progress) (api.Kernel, error) {
				return c.PullKernel(cmd.Context(), req, progress)
			})
		},
	}
	cmd.Flags().BoolVar(&req.Force, "force", false, "replace a kernel of that name")
	a.registerQuiet(cmd)
	return cmd
}
