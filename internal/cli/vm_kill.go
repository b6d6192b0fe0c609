package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
)

func newVMKill(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "kill REF...", Short: "End VMs at once; what a guest has not written out is lost", Annotations: called("vm kill"),
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.completeVMs(api.StateStarting, api.StateRunning, api.StatePaused),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.eachVM(cmd, args, func(ctx context.Context, c *api.Client, vm api.VM, _ api.Progress) error {
				_, err := c.KillVM(ctx, vm.ID)
				return err
			})
		},
	}
}
