package cli

import (
	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
)

func newImagePromote(a *app) *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use: "promote REF", Short: "Copy the files of a registered image, so that they are banger's",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeImages(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.makeImage(cmd, args[0], f, func(c *api.Client, progress api.Progress) (api.Image, error) {
				return c.PromoteImage(cmd.Context(), args[0], progress)
			})
		},
	}
	f.register(cmd, "")
	a.registerQuiet(cmd)
	return cmd
}
