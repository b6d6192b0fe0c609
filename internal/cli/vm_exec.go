package cli

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
)

func newVMExec(a *app) *cobra.Command {
	var (
		req      api.ExecRequest
		streams  streamFlags
		env      []string
		envFiles []string
	)
	cmd := &cobra.Command{
		Use: "exec [flags] REF [-- COMMAND...]", Short: "Run a command or a shell in a running VM", Annotations: called("vm exec"),
		Example: "  banger vm exec db -- ps aux\n  tar c . | banger vm exec db -- tar x -C /srv\n  banger vm exec -it db -- top",
		Args:    cobra.MinimumNArgs(1), ValidArgsFunction: a.completeExec(),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, command, err := splitExec(cmd, args)
			if err != nil {
				return err
			}
			if req.Env, err = environment(env, envFiles); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return before(operation(cmd), ref, err)
			}
			var shell bool
			req.Command, shell = commandOr(command)
			if req.Detach {
				s, err := client.Exec(cmd.Context(), ref, req, api.Streams{})
				return a.outcome(operation(cmd), ref, shell, s, err)
			}
			s, err := a.attach(cmd.Context(), client, ref, req, streams, shell)
			return a.outcome(operation(cmd), ref, shell, s, err)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what is behind the reference is the command's
	streams.register(cmd)
	flags.StringArrayVarP(&env, "env", "e", nil, "`KEY=VALUE` in its environment; KEY alone takes banger's own value")
	flags.StringArrayVar(&envFiles, "env-file", nil, "`FILE` of such lines")
	flags.StringVarP(&req.Workdir, "workdir", "w", "", "`DIR` in which it runs")
	flags.StringVarP(&req.User, "user", "u", "", "`USER[:GROUP]` as which it runs, names or numbers")
	flags.BoolVarP(&req.Detach, "detach", "d", false, "do not wait for it; its output goes to the console")
	for _, other := range []string{"interactive", "tty"} {
		cmd.MarkFlagsMutuallyExclusive("detach", other)
	}
	return cmd
}

// splitExec parts the arguments into the reference and the command. Flags between the two are taken where a `--` says
// that they are not the command's.
func splitExec(cmd *cobra.Command, args []string) (ref string, command []string, err error) {
	ref, command = args[0], args[1:]
	dash := slices.Index(command, "--")
	if cmd.ArgsLenAtDash() == 0 {
		return "", nil, usagef("%s: the VM is missing before --", operation(cmd))
	}
	if dash < 0 {
		return ref, command, nil
	}
	if dash == 0 {
		return ref, command[1:], nil
	}
	if command[0] == "" || command[0][0] != '-' {
		return ref, command, nil // `exec REF prog -- arg`: the dashes are the program's
	}
	if err := cmd.Flags().Parse(command[:dash]); err != nil {
		return "", nil, &usageError{err}
	}
	if rest := cmd.Flags().Args(); len(rest) > 0 {
		return "", nil, usagef("%s: unexpected %q before --", operation(cmd), rest[0])
	}
	return ref, command[dash+1:], nil
}

// completeExec proposes a running VM for the first argument and leaves the command to the user.
func (a *app) completeExec() completer {
	vms := a.completeVMs(api.StateRunning)
	return func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return vms(cmd, args, prefix)
	}
}
