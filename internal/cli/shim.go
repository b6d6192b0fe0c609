package cli

import "github.com/spf13/cobra"

// newShim is the command that the daemon starts for each VM. It is nothing for people.
func newShim(a *app) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "shim --dir DIR", Short: "Supervise one VM", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.signals.yield()
			return fail(operation(cmd), dir, a.services.shim(cmd.Context(), dir))
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the VM's directory")
	_ = cmd.MarkFlagRequired("dir") // the flag exists
	return cmd
}
