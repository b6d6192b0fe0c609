package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
)

func newVMRestart(a *app) *cobra.Command {
	var timeout timeoutFlag
	cmd := &cobra.Command{
		Use: "restart REF...", Short: "Stop VMs and start them again",
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.completeVMs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := timeout.request()
			if err != nil {
				return err
			}
			return a.eachVM(cmd, args, func(ctx context.Context, c *api.Client, vm api.VM, progress api.Progress) error {
				_, err := c.RestartVM(ctx, vm.ID, req, progress)
				return err
			})
		},
	}
	timeout.register(cmd)
	return cmd
}
