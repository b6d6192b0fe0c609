package cli

import "github.com/spf13/cobra"

func newImage(a *app) *cobra.Command {
	return newNoun("image", "Make, list and delete images", newImageBuild(a), newImageList(a), newImageShow(a), newImageDelete(a))
}
