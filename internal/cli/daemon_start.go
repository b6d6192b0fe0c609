package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newDaemonStart(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "start", Short: "Start the daemon if it does not run", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return fail(operation(cmd), "", err)
			}
			v, err := client.Version(cmd.Context())
			if err != nil {
				return fail(operation(cmd), "", err)
			}
			_, err = fmt.Fprintf(a.out, "the daemon runs as process %d\n", v.PID)
			return err
		},
	}
}
