package fsutil

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/banger-dev/banger/api"
)

// WriteAtomic makes path a file with the given content and mode. Whenever the power fails, path holds the old content
// or the new.
func WriteAtomic(path string, data []byte, mode fs.FileMode) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, NoSpace(err)), os.Remove(f.Name()))
	}
	return SyncDir(dir)
}

// SyncDir brings the entries of the directory path to disk.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// Allocated returns the bytes that the file path occupies on disk.
func Allocated(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, fmt.Errorf("measure file: %w", err)
	}
	return allocated(info), nil
}

// allocated counts st_blocks, whose unit is 512 bytes on every file system (stat(2)).
func allocated(info fs.FileInfo) int64 { return info.Sys().(*syscall.Stat_t).Blocks * 512 }

// FileInfo reads the file path and describes it. Path in the result is path as given.
func FileInfo(path string) (api.File, error) { return Describe(context.Background(), path) }

// Describe is FileInfo that gives up with ctx.
func Describe(ctx context.Context, path string) (api.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return api.File{}, fmt.Errorf("describe file: %w", err)
	}
	defer func() { _ = f.Close() }() // read-only
	hash := sha256.New()
	size, err := copyData(ctx, hash, f)
	if err != nil {
		return api.File{}, fmt.Errorf("describe file %s: %w", path, err)
	}
	info, err := f.Stat()
	if err != nil {
		return api.File{}, fmt.Errorf("describe file: %w", err)
	}
	return api.File{Path: path, Size: size, Allocated: allocated(info), SHA256: hex.EncodeToString(hash.Sum(nil))}, nil
}

// copyData writes the content of f to w and returns its size. The zeros of holes are not read from f, which would fill
// the page cache with them.
func copyData(ctx context.Context, w io.Writer, f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	buffer, zeros := make([]byte, 1<<18), make([]byte, 1<<18)
	for at := int64(0); at < info.Size(); {
		start, end, err := nextData(f, at, info.Size())
		if err != nil {
			return 0, err
		}
		hole := io.LimitReader(readerFunc(func(p []byte) (int, error) { return copy(p, zeros), nil }), start-at)
		data := io.NewSectionReader(f, start, end-start)
		if n, err := io.CopyBuffer(w, untilDone(ctx, io.MultiReader(hole, data)), buffer); err != nil || n != end-at {
			return 0, errors.Join(err, changed(n, end-at))
		}
		at = end
	}
	return info.Size(), nil
}

func changed(got, want int64) error {
	if got != want {
		return errors.New("it changed while it was read")
	}
	return nil
}

// untilDone reads from r until ctx ends.
func untilDone(ctx context.Context, r io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return r.Read(p)
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
