package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/fsutil"
	"github.com/banger-dev/banger/internal/image/seed"
	"github.com/banger-dev/banger/internal/op"
)

// Export writes the image that reference names into a new file, which appears whole or not at all. Pulled again it gives an
// image of the digest that is returned. That is the digest it was pulled by, as long as the cache still has its layers;
// otherwise the image becomes one of a single layer, which is always the same for the same files.
func (s *Service) Export(ctx context.Context, reference string, req api.ImageExport) (api.ImageExported, error) {
	i, err := s.Get(ctx, reference)
	if err != nil {
		return api.ImageExported{}, err
	}
	out, err := s.export(ctx, i, req)
	if err != nil {
		return api.ImageExported{}, fmt.Errorf("export image %q: %w", reference, err)
	}
	return out, nil
}

func (s *Service) export(ctx context.Context, i api.Image, req api.ImageExport) (out api.ImageExported, err error) {
	if !filepath.IsAbs(req.File) {
		return out, errdefs.New(errdefs.ErrInvalid, "%q is not an absolute path", req.File)
	}
	if err := missing(i); err != nil {
		return out, err
	}
	f, err := os.CreateTemp(filepath.Dir(req.File), "."+filepath.Base(req.File)+"-*")
	if err != nil {
		return out, err
	}
	defer func() {
		if e := os.Remove(f.Name()); err != nil && e != nil {
			err = errors.Join(err, e)
		}
	}()
	out.File = req.File
	out.Digest, err = s.writeExport(ctx, i, req.Format, f)
	if err == nil {
		err = f.Sync()
	}
	if info, e := f.Stat(); e == nil {
		out.Size = info.Size()
	}
	if err = errors.Join(fsutil.NoSpace(err), f.Close()); err != nil {
		return out, err
	}
	return out, reveal(f.Name(), req.File, req.Force)
}

// reveal gives a finished file its name.
func reveal(from, to string, replace bool) error {
	if replace {
		return errors.Join(os.Rename(from, to), fsutil.SyncDir(filepath.Dir(to)))
	}
	err := os.Link(from, to)
	if errors.Is(err, os.ErrExist) {
		return errdefs.WithHint(errdefs.New(errdefs.ErrExists, "%s exists", to), "replace it with --force")
	}
	return errors.Join(err, fsutil.SyncDir(filepath.Dir(to)))
}

func (s *Service) writeExport(ctx context.Context, i api.Image, format string, f *os.File) (digest string, err error) {
	switch format {
	case "", "oci":
		return s.exportOCI(ctx, i, f)
	case "bundle":
		return s.exportBundle(ctx, i, f)
	}
	return "", errdefs.New(errdefs.ErrInvalid, "format %q is not known", format)
}

// disks are an image's files, open.
type disks struct {
	rootfs seed.Disk
	seed   *seed.Disk
	files  []*os.File
}

func openDisks(i api.Image) (d *disks, err error) {
	d = &disks{}
	if d.rootfs, err = d.open(i.Rootfs); err != nil || i.WorkSeed == nil {
		return d, err
	}
	work, err := d.open(*i.WorkSeed)
	d.seed = &work
	return d, err
}

func (d *disks) open(f api.File) (seed.Disk, error) {
	file, err := os.Open(f.Path)
	if err != nil {
		return seed.Disk{}, err
	}
	d.files = append(d.files, file)
	return seed.Open(file)
}

func (d *disks) close() {
	for _, f := range d.files {
		f.Close()
	}
}

// mergeDisks writes one file system that has both disks of the image.
func mergeDisks(ctx context.Context, i api.Image, out *os.File) error {
	disks, err := openDisks(i)
	defer disks.close()
	if err != nil {
		return err
	}
	stage := op.Begin(ctx, "merge file systems", i.Name)
	_, err = seed.Merge(ctx, disks.rootfs, disks.seed, out, seed.Options{})
	return stage.End(fsutil.NoSpace(err))
}
