package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/publish"
	"github.com/banger-dev/banger/internal/ref"
)

// critical bounds how long the records and files may take to change together; the caller's end does not cut it short.
const critical = 30 * time.Second

// exclusive runs f while no other caller changes records and files together. It gives up waiting with ctx; once f
// runs, only critical bounds it.
func (s *Service) exclusive(ctx context.Context, f func(ctx context.Context) error) error {
	unlock, err := s.publish.Lock(ctx, "")
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), critical)
	defer cancel()
	return f(ctx)
}

// commit publishes the staged image: the directory is renamed into place, then the record is written. A crash between
// the two leaves a directory without a record, which Sweep removes.
func (s *Service) commit(ctx context.Context, staging *publish.Staging, i api.Image, force bool) (api.Image, error) {
	i.CreatedAt = time.Now().UTC()
	i.Rootfs.Path = filepath.Join(s.dir(i.ID), RootfsFile)
	if i.WorkSeed != nil {
		i.WorkSeed.Path = filepath.Join(s.dir(i.ID), SeedFile)
	}
	err := s.exclusive(ctx, func(ctx context.Context) error {
		old, err := s.taken(ctx, i.Name)
		if err != nil {
			return err
		}
		if old != nil && !force {
			return exists(i.Name)
		}
		if old != nil && old.ID == i.ID && old.Kind == i.Kind && missing(*old) == nil {
			i.CreatedAt = time.Now().UTC() // made anew, bit by bit the same: only the time differs
			return s.records.ReplaceImage(ctx, i)
		}
		if old == nil {
			return s.place(staging, i, func() error { return s.records.PutImage(ctx, i) })
		}
		if err := s.place(staging, i, func() error { return s.records.ReplaceImage(ctx, i) }); err != nil {
			return err
		}
		return s.dropUnrecorded(ctx, old.ID)
	})
	return i, err
}

// place renames the staged directory to the image's and writes its record, or does neither. A directory that is there
// already is damaged or has no record, or commit would not have come here.
func (s *Service) place(staging *publish.Staging, i api.Image, record func() error) error {
	if err := os.RemoveAll(s.dir(i.ID)); err != nil {
		return err
	}
	s.failpoint("rename")
	if err := staging.Publish(s.dir(i.ID)); err != nil {
		return err
	}
	s.failpoint("record")
	if err := record(); err != nil {
		return errors.Join(err, os.RemoveAll(s.dir(i.ID)))
	}
	s.failpoint("recorded")
	return nil
}

// dropUnrecorded removes the directory of the image id unless it has a record.
func (s *Service) dropUnrecorded(ctx context.Context, id string) error {
	images, err := s.records.Images(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(images, func(i api.Image) bool { return i.ID == id }) {
		return nil
	}
	return os.RemoveAll(s.dir(id))
}

// Delete removes the image that reference names and returns what it was. It is errdefs.ErrInUse, naming the VMs, while
// VMs use it. The record goes first: a crash leaves a directory without one, which Sweep removes.
func (s *Service) Delete(ctx context.Context, reference string) (api.Image, error) {
	var i api.Image
	err := s.exclusive(ctx, func(ctx context.Context) error {
		images, err := s.records.Images(ctx)
		if err != nil {
			return err
		}
		if i, err = ref.Resolve("image", images, idAndName, reference); err != nil {
			return err
		}
		s.failpoint("unrecord")
		if err := s.records.DeleteImage(ctx, i.ID); err != nil {
			return err
		}
		s.failpoint("remove")
		return os.RemoveAll(s.dir(i.ID))
	})
	switch {
	case err == nil:
		return i, nil
	case i.ID == "" && errdefs.Class(err) != nil: // the lookup's own words
		return api.Image{}, err
	}
	return api.Image{}, fmt.Errorf("delete image %q: %w", reference, err)
}
