package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/cli/progress"
	"github.com/banger-dev/banger/internal/errdefs"
)

func newVMCreate(a *app) *cobra.Command {
	var (
		s       specFlags
		name    string
		noStart bool
	)
	cmd := &cobra.Command{
		Use: "create [NAME...]", Short: "Make VMs and start them", Args: cobra.ArbitraryArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, names []string) error {
			if name != "" {
				names = append(names, name)
			}
			if len(names) == 0 {
				names = []string{""} // one with a name of banger's making
			}
			spec, err := s.resolve(a, cmd.Flags())
			if err != nil {
				return fail(operation(cmd), "", err)
			}
			client, err := a.client()
			if err != nil {
				return fail(operation(cmd), "", err)
			}
			names = once(names)
			display := a.display()
			defer display.Close()
			return a.each(display, operation(cmd), names, func(i int) (string, error) {
				task := display.Task(join(operation(cmd), names[i]))
				defer task.Done()
				spec := spec
				spec.Name = names[i]
				vm, err := a.make(cmd.Context(), client, spec, !noStart, task)
				return vm.Name, err
			})
		},
	}
	s.register(a, cmd)
	cmd.Flags().StringVar(&name, "name", "", "`NAME` of the VM (default: two words)")
	cmd.Flags().BoolVar(&noStart, "no-start", false, "do not start it")
	cmd.Flags().BoolVar(&s.spec.AutoRemove, "rm", false, "delete it when it stops")
	a.registerQuiet(cmd)
	return cmd
}

// undoTime bounds how long we wait for what we made to be removed again.
const undoTime = time.Minute

// make creates a VM and starts it. On failure nothing of it is left but its name, in what is returned.
func (a *app) make(ctx context.Context, c *api.Client, spec api.VMSpec, start bool, task *progress.Task) (api.VM, error) {
	vm, err := c.CreateVM(ctx, spec, task.Report)
	if err != nil {
		return api.VM{Name: spec.Name}, err
	}
	if !start {
		return vm, nil
	}
	started, err := c.StartVM(ctx, vm.ID, task.Report)
	if err != nil {
		return vm, errors.Join(err, a.remove(ctx, c, vm))
	}
	return started, nil
}

// remove deletes a VM of ours, also when ctx has ended. One that is gone already is no error.
func (a *app) remove(ctx context.Context, c *api.Client, vm api.VM) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	err := c.DeleteVM(ctx, vm.ID, api.DeleteRequest{Force: true}, nil)
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	return err
}
