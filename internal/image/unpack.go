package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/fsutil"
	"github.com/banger-dev/banger/internal/image/flatten"
	"github.com/banger-dev/banger/internal/image/oci"
	"github.com/banger-dev/banger/internal/image/seed"
	"github.com/banger-dev/banger/internal/op"
	"github.com/banger-dev/banger/internal/publish"
)

// unpack makes the disks of an OCI image in staging. Its layers are downloaded, several at once, while they are merged
// in order. Where /root is too large for a work seed of the usual size, the layers, which are at hand then, are merged
// again without one, and the seed is made of the result.
func (s *Service) unpack(ctx context.Context, src *oci.Image, staging *publish.Staging, draft *api.Image) error {
	err := s.merge(ctx, src, staging, true)
	if !errors.Is(err, errdefs.ErrExhausted) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return err
	}
	op.Log(ctx).Info("work seed of the usual size is too small", "error", err)
	if err := errors.Join(os.Remove(staging.Path(RootfsFile)), os.Remove(staging.Path(SeedFile))); err != nil {
		return err
	}
	if err := s.merge(ctx, src, staging, false); err != nil {
		return err
	}
	return s.addSeed(ctx, staging, draft)
}

// merge downloads and merges the layers once.
func (s *Service) merge(ctx context.Context, src *oci.Image, staging *publish.Staging, withSeed bool) (err error) {
	rootfs, err := create(staging.Path(RootfsFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rootfs.Close()) }()
	var seed *os.File
	if withSeed {
		if seed, err = create(staging.Path(SeedFile)); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, seed.Close()) }()
	}
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error { return src.Fetch(inner) })
	g.Go(func() error { return fsutil.NoSpace(s.flattenLayers(inner, src, rootfs, seed)) })
	return g.Wait()
}

func (s *Service) flattenLayers(ctx context.Context, src *oci.Image, rootfs, seed *os.File) error {
	stage := op.Begin(ctx, "write file systems", "")
	layers := make([]flatten.Layer, len(src.Layers))
	for n, l := range src.Layers {
		layers[n] = flatten.Layer{Name: "layer " + l.Digest, Open: func(ctx context.Context) (io.ReadCloser, error) {
			r, err := src.Open(ctx, n)
			return counted{r, stage}, err
		}}
	}
	result, err := flatten.Layers(ctx, layers, rootfs, seed, flatten.Options{SeedSize: s.seedSize})
	if err == nil {
		warn(ctx, result.Warnings)
	}
	return stage.End(err)
}

// counted reports what is read of a layer.
type counted struct {
	io.ReadCloser
	stage *op.Stage
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.stage.Add(int64(n))
	return n, err
}

func warn(ctx context.Context, warnings []string) {
	for _, w := range warnings {
		op.Warn(ctx, w)
	}
}

// addSeed makes the work seed of the staged root file system. When that fails for a reason of its own, the image goes
// without one: the user is warned, and the record says why.
func (s *Service) addSeed(ctx context.Context, staging *publish.Staging, draft *api.Image) error {
	err := s.makeSeed(ctx, staging.Path(RootfsFile), staging.Path(SeedFile))
	if err == nil || ctx.Err() != nil {
		return err
	}
	if e := os.Remove(staging.Path(SeedFile)); e != nil && !errors.Is(e, os.ErrNotExist) {
		return errors.Join(err, e)
	}
	draft.SeedError = err.Error()
	op.Warn(ctx, fmt.Sprintf("the image has no work seed, so guests get an empty /root; `banger image seed %s` tries again: %v", draft.Name, err))
	return nil
}

// buildSeed writes a new file with the work seed of a root file system.
func buildSeed(ctx context.Context, rootfs, out string) (err error) {
	stage := op.Begin(ctx, "make work seed", "")
	defer func() { err = stage.End(fsutil.NoSpace(err)) }()
	from, err := os.Open(rootfs)
	if err != nil {
		return err
	}
	defer from.Close()
	disk, err := seed.Open(from)
	if err != nil {
		return err
	}
	to, err := create(out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	result, err := seed.Build(ctx, disk, to, seed.Options{Size: seedSize})
	if err == nil {
		warn(ctx, result.Warnings)
	}
	return err
}
