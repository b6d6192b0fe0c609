package cli

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
)

// vmRun is one `vm run`.
type vmRun struct {
	spec    specFlags
	streams streamFlags
	name    string
	remove  bool
	detach  bool
}

func newVMRun(a *app) *cobra.Command {
	var r vmRun
	cmd := &cobra.Command{
		Use: "run [flags] [-- COMMAND...]", Short: "Run a command or a shell in a fresh VM", Annotations: called("vm run"),
		Long: "Run a command in a fresh VM, with its output streamed and its exit status passed on; without a command, a shell,\n" +
			"or, where the image has none, its entrypoint. A COMMAND is run as it is: the entrypoint is not put before it.\n" +
			"A missing default image and kernel are made first. The VM stays afterwards unless --rm is given.",
		Example: "  banger vm run --rm -- make -C /root test\n  banger vm run --image minimal --vcpu 4 --memory 2G\n  banger vm run -d --name db -- redis-server",
		Args:    cobra.ArbitraryArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			command, err := commandAfterDash(cmd, args)
			if err != nil {
				return err
			}
			spec, err := r.spec.resolve(a, cmd.Flags())
			if err != nil {
				return before(operation(cmd), r.name, err)
			}
			spec.Name, spec.AutoRemove = r.name, r.remove
			if r.remove && !r.detach {
				spec.OwnerPID = os.Getpid() // should we be killed, the daemon removes it
			}
			client, err := a.client()
			if err != nil {
				return before(operation(cmd), r.name, err)
			}
			return r.run(cmd.Context(), a, client, spec, command)
		},
	}
	r.spec.register(a, cmd)
	r.streams.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&r.name, "name", "", "`NAME` of the VM (default: two words)")
	flags.BoolVar(&r.remove, "rm", false, "delete the VM afterwards, whatever the outcome; with -d, when it stops")
	flags.BoolVarP(&r.detach, "detach", "d", false, "leave it running and print its name; a command's output goes to the console")
	a.registerQuiet(cmd)
	for _, other := range []string{"interactive", "tty"} {
		cmd.MarkFlagsMutuallyExclusive("detach", other)
	}
	return cmd
}

// commandAfterDash returns what is behind `--`. Nothing may be before it.
func commandAfterDash(cmd *cobra.Command, args []string) ([]string, error) {
	dash := cmd.ArgsLenAtDash()
	if dash < 0 {
		dash = len(args)
	}
	if dash == 0 {
		return args, nil
	}
	if info, err := os.Stat(args[0]); err == nil && info.IsDir() {
		return nil, usagef("%s %s: this version cannot bring a repository into a VM", operation(cmd), args[0])
	}
	return nil, usagef("%s: unexpected %q; a command goes behind --, as in `%s -- %s`", operation(cmd), args[0], cmd.CommandPath(), args[0])
}

func (r *vmRun) run(ctx context.Context, a *app, c *api.Client, spec api.VMSpec, command []string) error {
	const operation = "vm run"
	display := a.display()
	task := display.Task(join(operation, spec.Name))
	vm, err := a.make(ctx, c, spec, true, task)
	display.Close()
	if err != nil {
		return before(operation, vm.Name, err)
	}
	if len(command) == 0 {
		if command, err = entrypoint(ctx, c, vm); err != nil {
			return r.finish(ctx, a, c, vm, before(operation, vm.Name, err))
		}
	}
	if r.detach {
		err = r.leave(ctx, a, c, vm, command)
	} else {
		argv, shell := commandOr(command)
		var s api.ExitStatus
		req := api.ExecRequest{Command: argv}
		s, err = a.attach(ctx, c, vm.ID, req, r.streams, shell)
		err = a.outcome(operation, vm.Name, shell, s, err)
	}
	return r.finish(ctx, a, c, vm, err)
}

// leave starts the command, if there is one, and leaves the VM to itself.
func (r *vmRun) leave(ctx context.Context, a *app, c *api.Client, vm api.VM, command []string) error {
	if len(command) > 0 {
		s, err := c.Exec(ctx, vm.ID, api.ExecRequest{Command: command, Detach: true}, api.Streams{})
		if err := a.outcome("vm run", vm.Name, false, s, err); err != nil {
			return err
		}
	}
	_, err := a.out.Write([]byte(vm.Name + "\n"))
	return err
}

// finish removes the VM where that is wanted, and says that it stays where somebody might think otherwise.
func (r *vmRun) finish(ctx context.Context, a *app, c *api.Client, vm api.VM, outcome error) error {
	if r.detach && (outcome == nil || !r.remove) {
		return outcome
	}
	if !r.remove {
		a.tell("vm %s keeps running: `banger vm stop %s` stops it, `banger vm delete -f %s` deletes it", vm.Name, vm.Name, vm.Name)
		return outcome
	}
	if err := a.remove(ctx, c, vm); err != nil {
		err = fail("vm delete", vm.Name, err)
		if outcome == nil {
			return err
		}
		a.complain(err)
	}
	return outcome
}

// complain reports an error that does not decide the exit status.
func (a *app) complain(err error) {
	var said status
	if !errors.As(err, &said) {
		_, _ = a.err.WriteString(describe(err)) // nobody reads it then
	}
}
