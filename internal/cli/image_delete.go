package cli

import (
	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/ref"
)

func newImageDelete(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "delete REF...", Aliases: []string{"rm"}, Short: "Delete images that no VM uses",
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.completeImages(),
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
			return a.each(display, operation(cmd), refs, func(i int) (string, error) {
				image, err := ref.Resolve("image", images, func(i api.Image) (string, string) { return i.ID, i.Name }, refs[i])
				if err != nil {
					return "", err
				}
				_, err = client.DeleteImage(cmd.Context(), image.ID)
				return image.Name, err
			})
		},
	}
}
