package cli

import "github.com/spf13/cobra"

func newImage(a *app) *cobra.Command {
	return newNoun("image", "Fetch, make, list and delete images",
		newImagePull(a), newImageBuild(a), newImageImport(a), newImageExport(a), newImageRegister(a), newImagePromote(a),
		newImageTag(a), newImageSeed(a), newImageVerify(a), newImageList(a), newImageShow(a), newImageDelete(a), newImageCache(a))
}
