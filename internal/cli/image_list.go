package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/internal/size"
)

func newImageList(a *app) *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List images", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return fail(operation(cmd), "", err)
			}
			images, err := client.Images(cmd.Context())
			switch {
			case err != nil:
				return fail(operation(cmd), "", err)
			case f.json:
				return printJSON(a.out, images)
			}
			t := table{header: []string{"NAME", "ID", "KIND", "SIZE", "SOURCE", "CREATED"}}
			for _, i := range images {
				if f.quiet {
					if _, err := fmt.Fprintln(a.out, i.ID); err != nil {
						return err
					}
				}
				t.add(i.Name, i.ID, i.Kind, size.Format(i.Rootfs.Allocated), brief(i.Source), age(i.CreatedAt))
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
