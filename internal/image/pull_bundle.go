package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/fsutil"
	"github.com/banger-dev/banger/internal/image/bundle"
	"github.com/banger-dev/banger/internal/image/catalog"
	"github.com/banger-dev/banger/internal/op"
	"github.com/banger-dev/banger/internal/publish"
)

// cataloged returns the entry that a catalog has for the name, if any.
func (s *Service) cataloged(ctx context.Context, name string) (*catalog.Entry, error) {
	if s.catalog == nil {
		return nil, nil
	}
	e, err := s.catalog.Lookup(ctx, bundle.KindImage, name)
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil, nil
	}
	return &e, err
}

// pullBundle makes the image of a catalog's entry. One that came from the same bundle is returned as it is.
func (s *Service) pullBundle(ctx context.Context, e catalog.Entry, req api.ImagePull) (api.Image, error) {
	name := req.Name
	if name == "" {
		name = e.Name
	}
	s.failpoint("wait")
	unlock, err := s.builds.Lock(ctx, name)
	if err != nil {
		return api.Image{}, err
	}
	defer unlock()
	old, err := s.taken(ctx, name)
	if err != nil {
		return api.Image{}, err
	}
	draft := api.Image{Name: name, Source: "catalog:" + e.Name, Digest: "sha256:" + e.SHA256, Kernel: req.Kernel}
	switch {
	case old == nil, req.Force:
	case old.Source != draft.Source:
		return api.Image{}, exists(name)
	case old.Digest == draft.Digest && missing(*old) == nil:
		return *old, nil
	}
	return s.produce(ctx, draft, old != nil, func(ctx context.Context, staging *publish.Staging, draft *api.Image) error {
		stream, err := s.catalog.Open(ctx, e)
		if err != nil {
			return err
		}
		err = readBundle(ctx, stream, e.SHA256, e.Size, staging, draft)
		if err = errors.Join(err, stream.Close()); err != nil {
			return err
		}
		return s.addSeed(ctx, staging, draft)
	})
}

// readBundle writes the root file system of a bundle to staging, and fills in what its manifest says.
func readBundle(ctx context.Context, r io.Reader, digest string, size int64, staging *publish.Staging, draft *api.Image) error {
	rootfs, err := create(staging.Path(RootfsFile))
	if err != nil {
		return err
	}
	stage := op.Begin(ctx, "download bundle", draft.Name)
	stage.Total(size)
	m, err := bundle.Read(ctx, io.TeeReader(r, stage), digest, rootfs, bundle.Limits{})
	if err = stage.End(fsutil.NoSpace(errors.Join(err, rootfs.Close()))); err != nil {
		return err
	}
	draft.Config, draft.Labels = m.Config, m.Config.Labels
	if draft.Kernel == "" {
		draft.Kernel = m.Kernel
	}
	return nil
}

// exportBundle writes the image as a bundle and returns its sha256.
func (s *Service) exportBundle(ctx context.Context, i api.Image, f *os.File) (digest string, err error) {
	spool, err := publish.New(s.dirs.Staging(), "export")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, spool.Discard()) }() //nolint:contextcheck // the end of ctx is no reason to leave something
	whole, err := os.OpenFile(spool.Path(RootfsFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer whole.Close()
	if err := mergeDisks(ctx, i, whole); err != nil {
		return "", err
	}
	stage := op.Begin(ctx, "write bundle", i.Name)
	digest, err = bundle.Write(ctx, io.MultiWriter(f, stage), bundle.Manifest{Name: i.Name, Kernel: i.Kernel, Config: i.Config}, whole)
	if err = stage.End(err); err != nil {
		return "", fmt.Errorf("export %s: %w", i.Name, err)
	}
	return "sha256:" + digest, nil
}
