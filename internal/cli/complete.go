package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/paths"
)

// completionTime is how long a user who pressed Tab is made to wait for the daemon.
const completionTime = 500 * time.Millisecond

// completer proposes words for an argument or a flag.
type completer = func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective)

// complete asks a running daemon for names. Without one it is silent: pressing Tab starts nothing.
func complete(names func(context.Context, *api.Client) ([]string, error)) completer {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		dirs, err := paths.Resolve()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
		defer cancel()
		found, err := names(ctx, api.New(dirs.Socket()))
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return slices.DeleteFunc(found, func(n string) bool { return slices.Contains(args, n) }), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeVMs proposes the VMs in one of the states, or all.
func (a *app) completeVMs(states ...api.State) completer {
	return complete(func(ctx context.Context, c *api.Client) ([]string, error) {
		vms, err := c.VMs(ctx)
		var names []string
		for _, vm := range vms {
			if len(states) == 0 || slices.Contains(states, vm.State) {
				names = append(names, vm.Name)
			}
		}
		return names, err
	})
}

func (a *app) completeImages() completer {
	return complete(func(ctx context.Context, c *api.Client) ([]string, error) {
		images, err := c.Images(ctx)
		var names []string
		for _, i := range images {
			names = append(names, i.Name)
		}
		return names, err
	})
}

func (a *app) completeKernels() completer {
	return complete(func(ctx context.Context, c *api.Client) ([]string, error) {
		kernels, err := c.Kernels(ctx)
		var names []string
		for _, k := range kernels {
			names = append(names, k.Name)
		}
		return names, err
	})
}

// fixed proposes words that never change.
func fixed(words ...string) completer {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
}
