package cli

import (
	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/ref"
)

func newImageVerify(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify [REF...]", Short: "Compare the files of images with their digests",
		Long: "Read the files of the images, or of all, and compare them with their digests.",
		Args: cobra.ArbitraryArgs, ValidArgsFunction: a.completeImages(),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return fail(operation(cmd), "", err)
			}
			images, err := client.Images(cmd.Context())
			if err != nil {
				return fail(operation(cmd), "", err)
			}
			refs, display := once(args), a.display()
			defer display.Close()
			if len(args) == 0 {
				for _, i := range images {
					refs = append(refs, i.ID)
				}
			}
			return a.each(display, operation(cmd), refs, func(i int) (string, error) {
				image, err := ref.Resolve("image", images, func(i api.Image) (string, string) { return i.ID, i.Name }, refs[i])
				if err != nil {
					return "", err
				}
				task := display.Task(operation(cmd) + " " + image.Name)
				defer task.Done()
				_, err = client.VerifyImage(cmd.Context(), image.ID, task.Report)
				return image.Name, err
			})
		},
	}
	a.registerQuiet(cmd)
	return cmd
}
