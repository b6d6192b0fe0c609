package cli

import (
	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
)

func newImageTag(a *app) *cobra.Command {
	var (
		req api.ImageTag
		f   format
	)
	cmd := &cobra.Command{
		Use: "tag REF NAME", Short: "Give an image one more name",
		Long: "Give an image one more name. Each of the two can be deleted without the other; the files are shared.",
		Args: cobra.ExactArgs(2), ValidArgsFunction: a.completeImages(),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Name = args[1]
			return a.makeImage(cmd, args[0], f, func(c *api.Client, progress api.Progress) (api.Image, error) {
				return c.TagImage(cmd.Context(), args[0], req, progress)
			})
		},
	}
	cmd.Flags().BoolVar(&req.Force, "force", false, "replace an image of that name")
	f.register(cmd, "")
	a.registerQuiet(cmd)
	return cmd
}
