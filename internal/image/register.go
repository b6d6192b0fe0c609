package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/ext4/ext4fs"
	"github.com/banger-dev/banger/internal/fsutil"
	"github.com/banger-dev/banger/internal/names"
	"github.com/banger-dev/banger/internal/op"
	"github.com/banger-dev/banger/internal/publish"
)

const registered = "registered"

// Register makes an image of files that stay where they are and belong to the user. They must be ext4 file systems, and
// remain as they are: a change is noticed by [Service.Verify], one of size by every boot.
func (s *Service) Register(ctx context.Context, req api.ImageRegister) (api.Image, error) {
	if err := names.Validate("image", req.Name); err != nil {
		return api.Image{}, err
	}
	i, err := s.register(ctx, req)
	if err != nil {
		return api.Image{}, fmt.Errorf("register image %q: %w", req.Name, err)
	}
	return i, nil
}

func (s *Service) register(ctx context.Context, req api.ImageRegister) (api.Image, error) {
	rootfs, err := inspect(ctx, req.Rootfs)
	if err != nil {
		return api.Image{}, err
	}
	i := api.Image{
		Name: req.Name, Kind: registered, Source: "register:" + req.Rootfs, Kernel: req.Kernel,
		Rootfs: rootfs, CreatedAt: time.Now().UTC(),
	}
	if req.WorkSeed != "" {
		seed, err := inspect(ctx, req.WorkSeed)
		if err != nil {
			return api.Image{}, err
		}
		i.WorkSeed = &seed
	}
	if i.ID, err = identify(i); err != nil {
		return api.Image{}, err
	}
	return i, s.record(ctx, i, req.Force)
}

// record writes the record of an image that has no files of banger's.
func (s *Service) record(ctx context.Context, i api.Image, replace bool) error {
	return s.exclusive(ctx, func(ctx context.Context) error {
		if !replace {
			old, err := s.taken(ctx, i.Name)
			if err == nil && old != nil {
				err = exists(i.Name)
			}
			if err != nil {
				return err
			}
			return s.records.PutImage(ctx, i)
		}
		old, err := s.taken(ctx, i.Name)
		if err != nil {
			return err
		}
		if err := s.records.ReplaceImage(ctx, i); err != nil {
			return err
		}
		if old == nil || old.ID == i.ID {
			return nil
		}
		return s.dropUnrecorded(ctx, old.ID)
	})
}

// inspect describes a file that must hold a file system.
func inspect(ctx context.Context, path string) (api.File, error) {
	if !filepath.IsAbs(path) {
		return api.File{}, errdefs.New(errdefs.ErrInvalid, "%q is not an absolute path", path)
	}
	if err := checkFileSystem(path); err != nil {
		return api.File{}, fmt.Errorf("%s: %w", path, err)
	}
	stage := op.Begin(ctx, "check", path)
	described, err := fsutil.Describe(ctx, path)
	return described, stage.End(err)
}

func checkFileSystem(path string) error {
	info, err := os.Stat(path) // first: to open a FIFO would block
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errdefs.New(errdefs.ErrNotFound, "there is no such file")
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errdefs.New(errdefs.ErrInvalid, "it is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	fs, err := ext4fs.Open(f, info.Size())
	if err != nil {
		return err
	}
	_, err = fs.Stat("")
	return err
}

// Promote makes a registered image a managed one by copying its files, which must still be what was registered. VMs that
// use it go on with the copies from their next start on. A managed image is returned as it is.
func (s *Service) Promote(ctx context.Context, reference string) (api.Image, error) {
	i, err := s.Get(ctx, reference)
	if err != nil || i.Kind != registered {
		return i, err
	}
	unlock, err := s.builds.Lock(ctx, i.Name)
	if err == nil {
		defer unlock()
		old := i
		i, err = s.produce(ctx, old, true, func(ctx context.Context, staging *publish.Staging, _ *api.Image) error {
			return bring(ctx, staging, old, copyFile)
		})
	}
	if err != nil {
		return api.Image{}, fmt.Errorf("promote image %q: %w", reference, err)
	}
	return i, nil
}

func copyFile(ctx context.Context, from, to string) error {
	stage := op.Begin(ctx, "copy", from)
	_, err := fsutil.Clone(to, from)
	if err == nil {
		err = os.Chmod(to, 0o400)
	}
	return stage.End(err)
}

// bring puts the files of an image into staging by the given means, and checks that they are what its record says.
func bring(ctx context.Context, staging *publish.Staging, i api.Image, transfer func(ctx context.Context, from, to string) error) error {
	if err := bringFile(ctx, i.Rootfs, staging.Path(RootfsFile), transfer); err != nil || i.WorkSeed == nil {
		return err
	}
	return bringFile(ctx, *i.WorkSeed, staging.Path(SeedFile), transfer)
}

func bringFile(ctx context.Context, f api.File, to string, transfer func(ctx context.Context, from, to string) error) error {
	if err := transfer(ctx, f.Path, to); err != nil {
		return err
	}
	return compare(ctx, f, to)
}
