// Package fsutil has what the standard library lacks for large sparse files and for changes that survive power loss.
package fsutil

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/errdefs"
)

// How Clone copied a file.
const (
	Reflink    = "reflink"     // the blocks are shared until one side changes them
	SparseCopy = "sparse-copy" // the data was copied, the holes were kept
)

// Clone copies the regular file src to dst, which must not exist, by the cheapest way the file system has, and returns
// which way that was. The copy has mode 0600 and is on disk, though its directory entry may not be. On failure dst is
// not there; a full disk is errdefs.ErrExhausted.
func Clone(dst, src string) (method string, err error) {
	in, err := os.Open(src)
	if err != nil {
		return "", fmt.Errorf("clone: %w", err)
	}
	defer func() { _ = in.Close() }() // read-only
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", fmt.Errorf("clone: %w", err)
	}
	method, err = clone(out, in)
	if err == nil {
		err = out.Sync()
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("clone %s to %s: %w", src, dst, NoSpace(err)), os.Remove(dst))
	}
	return method, nil
}

func clone(out, in *os.File) (method string, err error) {
	err = unix.IoctlFileClone(int(out.Fd()), int(in.Fd()))
	switch {
	case err == nil:
		return Reflink, nil
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOTTY), errors.Is(err, unix.EXDEV),
		errors.Is(err, unix.EINVAL), errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOSYS):
		return SparseCopy, sparseCopy(out, in)
	}
	return "", err
}

// sparseCopy copies the parts of in that have data (lseek(2), SEEK_DATA) and leaves holes elsewhere.
func sparseCopy(out, in *os.File) error {
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := out.Truncate(info.Size()); err != nil {
		return err
	}
	for at := int64(0); at < info.Size(); {
		start, end, err := nextData(in, at, info.Size())
		if err != nil {
			return err
		}
		if err := copyRange(out, in, start, end); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// nextData returns the first range at or after offset at that has data. At the end of f that is an empty one at size.
func nextData(f *os.File, at, size int64) (start, end int64, err error) {
	start, err = f.Seek(at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return size, size, nil // only a hole is left
	}
	if err != nil {
		return 0, 0, err
	}
	end, err = f.Seek(start, unix.SEEK_HOLE)
	return start, end, err
}

// copyRange copies [start, end) to the same offsets, inside the kernel where it can.
func copyRange(out, in *os.File, start, end int64) error {
	if _, err := in.Seek(start, io.SeekStart); err != nil {
		return err
	}
	if _, err := out.Seek(start, io.SeekStart); err != nil {
		return err
	}
	_, err := io.CopyN(out, in, end-start)
	return err
}

// NoSpace puts an error that says that a disk or quota is full into the class errdefs.ErrExhausted, with a hint, and
// returns any other as it is.
func NoSpace(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return errdefs.WithHint(errdefs.As(errdefs.ErrExhausted, err), "free some space on the disk of banger's state directory")
	}
	return err
}
