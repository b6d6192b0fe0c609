package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/size"
)

func newOperation(a *app) *cobra.Command {
	return newNoun("operation", "List and cancel what the daemon is doing", newOperationList(a), newOperationCancel(a))
}

func newOperationList(a *app) *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the operations that run", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return fail(operation(cmd), "", err)
			}
			running, err := client.Operations(cmd.Context())
			switch {
			case err != nil:
				return fail(operation(cmd), "", err)
			case f.json:
				return printJSON(a.out, running)
			}
			t := table{header: []string{"ID", "OPERATION", "SUBJECT", "STAGE", "STARTED"}}
			for _, o := range running {
				if f.quiet {
					if _, err := fmt.Fprintln(a.out, o.ID); err != nil {
						return err
					}
				}
				t.add(o.ID, o.Kind, printable(o.Subject), printable(stageOf(o.Last)), age(o.StartedAt))
			}
			if f.quiet {
				return nil
			}
			return t.print(a.out)
		},
	}
	f.register(cmd, "print ids only")
	return cmd
}

func stageOf(e api.Event) string {
	text := join(e.Stage, e.Detail)
	switch {
	case e.Total > 0:
		return join(text, fmt.Sprintf("%d%% of %s", 100*e.Current/e.Total, size.Format(e.Total)))
	case e.Current > 0:
		return join(text, size.Format(e.Current))
	}
	return text
}

func newOperationCancel(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "cancel ID...", Short: "Cancel operations",
		Long: "Cancel operations, whoever began them. Whoever waits for one is told. A pull that several wait for goes on for the others.",
		Args: cobra.MinimumNArgs(1),
		ValidArgsFunction: complete(func(ctx context.Context, c *api.Client) ([]string, error) {
			running, err := c.Operations(ctx)
			var ids []string
			for _, o := range running {
				ids = append(ids, o.ID)
			}
			return ids, err
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return fail(operation(cmd), "", err)
			}
			ids, display := once(args), a.display()
			defer display.Close()
			return a.each(display, operation(cmd), ids, func(i int) (string, error) {
				return ids[i], client.CancelOperation(cmd.Context(), ids[i])
			})
		},
	}
}
