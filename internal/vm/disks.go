package vm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/ext4"
	"github.com/banger-dev/banger/internal/fsutil"
	"github.com/banger-dev/banger/internal/op"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/store"
)

// reserve is what must be free on the state directory's disk before anything is made on it or runs from it, in bytes:
// a guest that finds its sparse disk full gets I/O errors.
const reserve = 64 << 20

// makeDisks makes a VM's directory with its own two disks, whole and on disk.
func (s *Service) makeDisks(ctx context.Context, r store.VMRecord, image api.Image) error {
	dir := s.dir(r.ID)
	need := int64(reserve)
	if image.WorkSeed != nil {
		need += image.WorkSeed.Allocated
	}
	if err := checkSpace(s.o.Dirs.VMs(), need); err != nil {
		return err
	}
	if err := os.Mkdir(string(dir), 0o700); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return format(dir.Overlay(), "overlay", r.OverlaySize) })
	g.Go(func() error { return makeWorkDisk(ctx, dir, image.WorkSeed, r.DiskSize) })
	if err := g.Wait(); err != nil {
		return fsutil.NoSpace(err)
	}
	return errors.Join(fsutil.SyncDir(string(dir)), fsutil.SyncDir(filepath.Dir(string(dir))))
}

// makeWorkDisk clones the image's seed, whose file system the guest grows to the disk's size; without one, it makes an
// empty file system.
func makeWorkDisk(ctx context.Context, dir control.Dir, seed *api.File, size int64) error {
	if seed == nil {
		return format(dir.Work(), "root", size)
	}
	method, err := fsutil.Clone(dir.Work(), seed.Path)
	if err != nil {
		return err
	}
	op.Log(ctx).Info("work disk cloned", "method", method)
	if err := os.Truncate(dir.Work(), size); err != nil {
		return fmt.Errorf("grow work disk: %w", err)
	}
	return nil
}

func format(path, label string, size int64) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make %s disk: %w", label, err)
	}
	o := ext4.Options{Size: size, Journal: true, Label: label, Epoch: time.Now()}
	_, _ = rand.Read(o.UUID[:]) // crypto/rand.Read never fails
	err = ext4.Format(f, o)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("make %s disk: %w", label, err)
	}
	return nil
}

// checkSpace returns errdefs.ErrExhausted unless need bytes are free on the file system of dir.
func checkSpace(dir string, need int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("look for free space: %w", &os.PathError{Op: "statfs", Path: dir, Err: err})
	}
	if free := int64(st.Bavail) * st.Bsize; free < need {
		return errdefs.WithHint(
			errdefs.New(errdefs.ErrExhausted, "%d MiB are free in %s, at least %d MiB are needed", free>>20, dir, need>>20),
			"free some space: `banger vm list` and `banger image list` show what can go")
	}
	return nil
}
