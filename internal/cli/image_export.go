package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/cli/terminal"
	"github.com/banger-dev/banger/internal/size"
)

func newImageExport(a *app) *cobra.Command {
	var (
		req api.ImageExport
		f   format
	)
	cmd := &cobra.Command{
		Use: "export REF {-o FILE | > FILE}", Short: "Write an image into an archive",
		Long: "Write an image into an OCI archive, which pulls again to the same digest, or into a bundle. Without -o it goes to standard output.",
		Example: "  banger image export app -o app.tar && banger image pull oci-archive:app.tar\n" +
			"  banger image export app | zstd > app.tar.zst",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeImages(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if req.Format != "oci" && req.Format != "bundle" {
				return usagef("--format %q: must be oci or bundle", req.Format)
			}
			if req.File == "" || req.File == "-" {
				return a.exportToOutput(cmd, args[0], req)
			}
			var err error
			if req.File, err = absolute(req.File); err != nil {
				return fail(operation(cmd), args[0], err)
			}
			exported, err := a.export(cmd, args[0], req)
			switch {
			case err != nil:
				return fail(operation(cmd), args[0], err)
			case f.json:
				return printJSON(a.out, exported)
			}
			_, err = fmt.Fprintf(a.out, "%s  %s  %s\n", exported.File, size.Format(exported.Size), exported.Digest)
			return err
		},
	}
	cmd.Flags().StringVarP(&req.File, "output", "o", "", "`FILE` to write")
	cmd.Flags().StringVar(&req.Format, "format", "oci", "`oci|bundle`: an OCI archive, or a bundle for a catalog")
	_ = cmd.RegisterFlagCompletionFunc("format", fixed("oci", "bundle")) // the flag exists
	cmd.Flags().BoolVar(&req.Force, "force", false, "replace the file")
	f.register(cmd, "")
	a.registerQuiet(cmd)
	return cmd
}

func (a *app) export(cmd *cobra.Command, ref string, req api.ImageExport) (api.ImageExported, error) {
	client, err := a.client()
	if err != nil {
		return api.ImageExported{}, err
	}
	display := a.display()
	defer display.Close()
	return client.ExportImage(cmd.Context(), ref, req, display.Task(operation(cmd)+" "+ref).Report)
}

// exportToOutput lets the daemon write a temporary file, so that nothing comes out when it fails, and copies that.
func (a *app) exportToOutput(cmd *cobra.Command, ref string, req api.ImageExport) error {
	if terminal.Is(os.Stdout) {
		return usagef("%s: standard output is a terminal; name a file with -o", operation(cmd))
	}
	dir, err := os.MkdirTemp("", "banger-export-")
	if err != nil {
		return fail(operation(cmd), ref, err)
	}
	req.File = filepath.Join(dir, "image.tar")
	_, err = a.export(cmd, ref, req)
	if err == nil {
		err = copyOut(cmd.Context(), a.out, req.File)
	}
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		return fail(operation(cmd), ref, err)
	}
	return nil
}

func copyOut(ctx context.Context, to io.Writer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(to, file)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
