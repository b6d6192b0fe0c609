package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
)

func newVMStart(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "start REF...", Short: "Start VMs", Annotations: called("vm start"),
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.completeVMs(api.StateCreated, api.StateStopped, api.StateFailed),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.eachVM(cmd, args, func(ctx context.Context, c *api.Client, vm api.VM, progress api.Progress) error {
				_, err := c.StartVM(ctx, vm.ID, progress)
				return err
			})
		},
	}
}
