package cli

import (
	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
)

func newImageSeed(a *app) *cobra.Command {
	var (
		req api.ImageSeed
		f   format
	)
	cmd := &cobra.Command{
		Use: "seed REF", Short: "Make the work seed of an image that has none",
		Long: "Make the work seed of an image that has none: what its guests have in /root at first. VMs that exist keep their disks.",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeImages(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.makeImage(cmd, args[0], f, func(c *api.Client, progress api.Progress) (api.Image, error) {
				return c.SeedImage(cmd.Context(), args[0], req, progress)
			})
		},
	}
	cmd.Flags().BoolVar(&req.Force, "force", false, "make it anew where there is one")
	f.register(cmd, "")
	a.registerQuiet(cmd)
	return cmd
}
