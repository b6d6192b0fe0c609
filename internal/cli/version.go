package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/internal/version"
)

func newVersion(a *app) *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use: "version", Short: "Print banger's version", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			build, err := version.Build()
			if err != nil {
				return fail(operation(cmd), "", err)
			}
			if f.json {
				return printJSON(a.out, struct {
					Version string `json:"version"`
					Build   string `json:"build"`
				}{version.Version, build})
			}
			_, err = fmt.Fprintf(a.out, "banger %s (build %.12s)\n", version.Version, build)
			return err
		},
	}
	f.register(cmd, "")
	return cmd
}
