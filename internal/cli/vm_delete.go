package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
)

func newVMDelete(a *app) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "delete REF...", Aliases: []string{"rm"}, Short: "Delete VMs with all their files",
		Annotations: called("vm delete"), Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.completeVMs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.eachVMOr(cmd, args, func(ctx context.Context, c *api.Client, vm api.VM, progress api.Progress) error {
				err := c.DeleteVM(ctx, vm.ID, api.DeleteRequest{Force: force}, progress)
				if errors.Is(err, errdefs.ErrNotFound) {
					return nil // somebody else was faster
				}
				return err
			}, func(err error) error {
				if force && errors.Is(err, errdefs.ErrNotFound) {
					return nil // as it should be
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "kill a VM that runs; one that does not exist is no error")
	return cmd
}

// newRm is the flat form of vm delete.
func newRm(a *app) *cobra.Command {
	cmd := newVMDelete(a)
	cmd.Use, cmd.Aliases = "rm REF...", nil
	return cmd
}
