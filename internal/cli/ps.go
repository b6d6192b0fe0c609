package cli

import "github.com/spf13/cobra"

func newPs(a *app) *cobra.Command {
	var (
		f   format
		all bool
	)
	cmd := &cobra.Command{
		Use: "ps", Short: "List running VMs", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.listVMs(cmd, f, all) },
	}
	f.register(cmd, "print ids only")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "also those that do not run")
	return cmd
}
