package oci

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/errdefs"
)

// files are the regular files of a directory or an archive, by slash-separated name. Nothing outside of it can be opened.
type files interface {
	// open returns a file and its size in bytes, or an error that is fs.ErrNotExist.
	open(name string) (io.ReadCloser, int64, error)
	Close() error
}

// openLocal opens a directory or archive.
func openLocal(ctx context.Context, ref Reference, s *store, l Limits) (source, error) {
	if ref.Kind == Layout {
		root, err := os.OpenRoot(ref.Path)
		if err != nil {
			return nil, classifyPath(err)
		}
		return &layoutSource{ref: ref, files: dirFiles{root}}, nil
	}
	archive, err := openArchive(ctx, ref.Path, filepath.Join(s.dir, "tmp"), l)
	if err != nil {
		return nil, classifyPath(err)
	}
	kind := ref.Kind
	if kind == Archive {
		kind = archive.kind()
	}
	switch kind {
	case OCIArchive:
		return &layoutSource{ref: ref, files: archive}, nil
	case DockerArchive:
		return &dockerArchive{ref: ref, files: archive}, nil
	}
	archive.Close()
	return nil, errdefs.New(errdefs.ErrInvalid, "it is neither an OCI archive nor what docker save writes: index.json and manifest.json are missing")
}

func classifyPath(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errdefs.As(errdefs.ErrNotFound, err)
	}
	return err
}

// dirFiles are the files of a directory. Symbolic links are followed inside of it only.
type dirFiles struct{ root *os.Root }

func (d dirFiles) open(name string) (io.ReadCloser, int64, error) {
	f, err := d.root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not block
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, err
	}
	if err != nil { // a link out of the directory, for one
		return nil, 0, errdefs.As(errdefs.ErrInvalid, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errdefs.New(errdefs.ErrInvalid, "%s is not a regular file", name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

func (d dirFiles) Close() error { return d.root.Close() }
