package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/internal/size"
)

func newImageCache(a *app) *cobra.Command {
	return newNoun("cache", "Look after the layers that were downloaded", newImageCacheShow(a), newImageCachePrune(a))
}

func newImageCacheShow(a *app) *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use: "show", Short: "Show what the cache takes on disk", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return fail(operation(cmd), "", err)
			}
			usage, err := client.ImageCache(cmd.Context())
			switch {
			case err != nil:
				return fail(operation(cmd), "", err)
			case f.json:
				return printJSON(a.out, usage)
			}
			return fields(a.out, [2]string{"layers", size.Format(usage.Blobs)}, [2]string{"unfinished", size.Format(usage.Partial)})
		},
	}
	f.register(cmd, "")
	return cmd
}

func newImageCachePrune(a *app) *cobra.Command {
	var (
		keep bool
		f    format
	)
	cmd := &cobra.Command{
		Use: "prune", Short: "Empty the cache of layers", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		Long: "Empty the cache of layers. No image needs it: what is pulled again is downloaded again. Pulls that run keep theirs.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return fail(operation(cmd), "", err)
			}
			pruned, err := client.PruneImageCache(cmd.Context(), keep)
			switch {
			case err != nil:
				return fail(operation(cmd), "", err)
			case f.json:
				return printJSON(a.out, pruned)
			}
			_, err = fmt.Fprintf(a.out, "%s freed\n", size.Format(pruned.Freed))
			return err
		},
	}
	cmd.Flags().BoolVar(&keep, "keep-used", false, "leave the layers that images were made of")
	f.register(cmd, "")
	return cmd
}
