package cli

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
)

func newImageImport(a *app) *cobra.Command {
	var (
		req api.ImageImport
		f   format
	)
	cmd := &cobra.Command{
		Use: "import --name NAME [FILE|-]", Short: "Make an image of an archive",
		Long:    "Make an image of an OCI archive, or of what docker save writes, from a file or standard input.",
		Example: "  docker save app | banger image import --name app",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			archive := a.in
			if len(args) > 0 && args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return fail(operation(cmd), req.Name, err)
				}
				defer file.Close()
				archive = file
			}
			return a.makeImage(cmd, req.Name, f, func(c *api.Client, progress api.Progress) (api.Image, error) {
				return c.ImportImage(cmd.Context(), req, archive, progress)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&req.Name, "name", "", "`NAME` of the image")
	flags.StringVar(&req.Tag, "tag", "", "`TAG` of the image in the archive, where it has several")
	flags.StringVar(&req.Platform, "platform", "", "`OS/ARCH[/VARIANT]` (default: linux on this machine's processor)")
	flags.StringVar(&req.Kernel, "kernel", "", "`REF` of the kernel that it boots with (default from the configuration)")
	flags.BoolVar(&req.Force, "force", false, "replace an image of that name")
	_ = cmd.MarkFlagRequired("name") // the flag exists, as does the next
	_ = cmd.RegisterFlagCompletionFunc("kernel", a.completeKernels())
	f.register(cmd, "")
	a.registerQuiet(cmd)
	return cmd
}
