// Package publish makes directories appear whole or not at all, whenever the process or the power dies: files are made
// in a staging directory, brought to disk and renamed into place. The caller then writes the record that makes them
// count; a directory without a record is what is left of a crash between the two.
package publish

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/fsutil"
	"github.com/banger-dev/banger/internal/userns"
)

// removal bounds how long the removal of one tree may take.
const removal = time.Minute

// Staging is a directory of one process, which holds a flock on it for as long as it works in it.
type Staging struct {
	dir  string
	lock *os.File // nil: published or discarded
}

// New makes a staging directory below root, with a name that begins with kind.
func New(root, kind string) (*Staging, error) {
	for {
		s, err := try(filepath.Join(root, kind+"-"+rand.Text()))
		if err != nil {
			return nil, fmt.Errorf("make staging directory: %w", fsutil.NoSpace(err))
		}
		if s != nil {
			return s, nil
		}
	}
}

// try makes and locks dir. It returns nil when a Sweep came between the two.
func try(dir string) (*Staging, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := acquire(dir)
	if lock == nil {
		return nil, err
	}
	return &Staging{dir: dir, lock: lock}, nil
}

// acquire locks dir. It returns nil when another holds the lock or dir is no longer there.
func acquire(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil && stillAt(f, dir) {
		return f, nil
	}
	_ = f.Close() // read-only
	if err == nil || errors.Is(err, unix.EWOULDBLOCK) {
		return nil, nil
	}
	return nil, err
}

func stillAt(f *os.File, path string) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(opened, named)
}

// Dir is the staging directory itself.
func (s *Staging) Dir() string { return s.dir }

// Path returns where the file name belongs while it is made.
func (s *Staging) Path(name string) string { return filepath.Join(s.dir, name) }

// Sync brings everything in the directory to disk, so that a Publish that follows has little left to do. A caller that
// publishes under a lock calls it before.
func (s *Staging) Sync() error {
	if err := syncTree(s.dir); err != nil {
		return fmt.Errorf("sync %s: %w", s.dir, fsutil.NoSpace(err))
	}
	return nil
}

// Publish brings everything in the directory to disk and renames the directory to target, on the same file system,
// durably. It fails with errdefs.ErrExists when target is there. After a failure the caller calls Discard.
func (s *Staging) Publish(target string) error {
	if err := syncTree(s.dir); err != nil {
		return fmt.Errorf("publish %s: %w", target, fsutil.NoSpace(err))
	}
	err := unix.Renameat2(unix.AT_FDCWD, s.dir, unix.AT_FDCWD, target, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) { // a file system without the flag
		err = renameToNew(s.dir, target)
	}
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.ENOTEMPTY) {
		err = errdefs.As(errdefs.ErrExists, err)
	}
	if err != nil {
		return fmt.Errorf("publish %s: %w", target, err)
	}
	s.dir = target
	if err := fsutil.SyncDir(filepath.Dir(target)); err != nil {
		return fmt.Errorf("publish %s: %w", target, err)
	}
	return s.release()
}

// renameToNew refuses to replace even an empty directory, which rename(2) alone would.
func renameToNew(from, to string) error {
	if _, err := os.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, unix.EEXIST)
	}
	return os.Rename(from, to)
}

// syncTree brings every file and directory below dir, and dir, to disk, children first.
func syncTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.IsDir():
			err = syncTree(path)
		case e.Type().IsRegular():
			err = syncFile(path)
		}
		if err != nil {
			return err
		}
	}
	return fsutil.SyncDir(dir)
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Discard removes what was staged. It does nothing after Publish has succeeded, and may be called again. After a
// Publish that failed once the directory was renamed, it removes the directory where it now is.
func (s *Staging) Discard() error {
	if s.lock == nil {
		return nil
	}
	err := removeAll(s.dir)
	return errors.Join(err, s.release())
}

func (s *Staging) release() error {
	lock := s.lock
	s.lock = nil
	if lock == nil {
		return nil
	}
	return lock.Close()
}

// Sweep removes the directories and files below root that no live process uses, and returns their names. It goes on
// after an error, and returns all of them.
func Sweep(root string) (removed []string, err error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("sweep staging directories: %w", err)
	}
	var errs []error
	for _, e := range entries {
		gone, err := sweep(filepath.Join(root, e.Name()), e.IsDir())
		if gone {
			removed = append(removed, e.Name())
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("sweep staging directory: %w", err))
		}
	}
	return removed, errors.Join(errs...)
}

func sweep(path string, dir bool) (removed bool, err error) {
	if !dir {
		err := os.Remove(path)
		return err == nil, err
	}
	lock, err := acquire(path)
	if lock == nil {
		return false, err
	}
	err = errors.Join(removeAll(path), lock.Close())
	return err == nil, err
}

// removeAll removes a tree even when directories in it lack the permissions that takes, or belong to subordinate users.
func removeAll(path string) error {
	if err := os.RemoveAll(path); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if err := unlock(path); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), removal)
	defer cancel()
	return userns.RemoveAll(ctx, path)
}

// unlock lets this user change every directory of a tree that is his.
func unlock(path string) error {
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // read-only
	return fs.WalkDir(root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = root.Chmod(p, 0o700) // what cannot be changed is another user's
		}
		return nil // the removal says what is wrong
	})
}
