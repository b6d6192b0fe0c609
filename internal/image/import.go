package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/fsutil"
	"github.com/banger-dev/banger/internal/image/oci"
	"github.com/banger-dev/banger/internal/names"
	"github.com/banger-dev/banger/internal/op"
	"github.com/banger-dev/banger/internal/publish"
)

// Import makes an image of an archive that is read from r: an OCI archive or what docker save writes, compressed or not.
// It is brought to disk first, as its parts may come in any order. An Import that fails or is cancelled leaves nothing.
func (s *Service) Import(ctx context.Context, req api.ImageImport, r io.Reader) (api.Image, error) {
	if err := names.Validate("image", req.Name); err != nil {
		return api.Image{}, err
	}
	spool, err := publish.New(s.dirs.Staging(), "import")
	if err != nil {
		return api.Image{}, err
	}
	i, err := s.importFrom(ctx, req, spool.Path("archive"), r)
	if err != nil {
		err = fmt.Errorf("import image %q: %w", req.Name, err)
	}
	return i, errors.Join(err, spool.Discard()) //nolint:contextcheck // the end of ctx is no reason to leave something
}

func (s *Service) importFrom(ctx context.Context, req api.ImageImport, path string, r io.Reader) (api.Image, error) {
	if err := receive(ctx, path, r); err != nil {
		return api.Image{}, err
	}
	reference := "archive:" + path
	if req.Tag != "" {
		reference += ":" + req.Tag
	}
	src, err := s.puller.Resolve(ctx, oci.Request{Reference: reference, Platform: req.Platform})
	if err != nil {
		return api.Image{}, err
	}
	src.Reference = "import:" + req.Name
	i, err := s.publishAs(ctx, src, req.Name, api.ImagePull{Kernel: req.Kernel, Force: req.Force})
	return i, errors.Join(err, src.Close())
}

// receive writes what comes from r to a new file.
func receive(ctx context.Context, path string, r io.Reader) (err error) {
	stage := op.Begin(ctx, "receive", "archive")
	defer func() { err = stage.End(fsutil.NoSpace(err)) }()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.MultiWriter(f, stage), r)
	if ctx.Err() != nil {
		err = context.Cause(ctx) // what ended the stream follows from that
	}
	return errors.Join(err, f.Close())
}
