package oci

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/fsutil"
)

const (
	maxEntries = 20_000 // of an archive: an image has a few for each layer
	maxNames   = 32 << 20
	maxLinks   = 8 // symbolic links on the way to one file
)

// archive is a tar file whose entries are read where they are. Names only ever lead to entries, never to the host's files.
type archive struct {
	f       *os.File
	entries map[string]entry
}

// entry is a regular file or a link.
type entry struct {
	offset, size int64
	link         string // name of another entry; then the rest is not set
}

// openArchive reads the headers of the archive. A compressed one is first unpacked into a file in tmp that has no name and
// so is gone with the process.
func openArchive(ctx context.Context, name, tmp string, l Limits) (*archive, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0) // a FIFO must not block
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errdefs.New(errdefs.ErrInvalid, "%s is not a regular file", name)
	}
	if err == nil {
		f, err = uncompressed(ctx, f, info.Size(), tmp, l)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	a := &archive{f: f, entries: make(map[string]entry)}
	if err := a.index(ctx); err != nil {
		f.Close()
		return nil, err
	}
	return a, nil
}

// uncompressed returns f, or what f becomes without its compression; then f is closed.
// When it fails, it returns f, which the caller closes.
func uncompressed(ctx context.Context, f *os.File, size int64, tmp string, l Limits) (*os.File, error) {
	var magic [6]byte
	n, err := f.ReadAt(magic[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return f, err
	}
	if !isCompressed(magic[:n]) {
		return f, nil
	}
	plain, err := nameless(tmp)
	if err != nil {
		return f, err
	}
	if err := inflate(ctx, plain, f, min(l.Layer, l.Free+l.Ratio*min(size, l.Layer/l.Ratio+1))); err != nil {
		plain.Close()
		return f, fmt.Errorf("decompress: %w", fsutil.NoSpace(err))
	}
	f.Close()
	return plain, nil
}

func nameless(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fsutil.NoSpace(err)
	}
	f, err := os.CreateTemp(dir, "archive-")
	if err != nil {
		return nil, fsutil.NoSpace(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func inflate(ctx context.Context, to io.Writer, from io.Reader, limit int64) error {
	r, closeReader, err := decompressor(&interruptible{ctx, from})
	if err != nil {
		return err
	}
	defer closeReader()
	n, err := io.Copy(to, io.LimitReader(r, limit+1))
	if err == nil && n > limit {
		err = errdefs.New(errdefs.ErrInvalid, "it becomes more than %d bytes", limit)
	}
	return err
}

// interruptible is a file that stops being read when ctx ends.
type interruptible struct {
	ctx context.Context //nolint:containedctx // an io.Reader has no other way to give up
	r   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if i.ctx.Err() != nil {
		return 0, context.Cause(i.ctx)
	}
	return i.r.Read(p)
}

// index notes where the regular files are. Of entries with one name the last counts, as it does when tar extracts.
func (a *archive) index(ctx context.Context) error {
	info, err := a.f.Stat()
	if err != nil {
		return err
	}
	end := info.Size()
	if _, err := a.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r := tar.NewReader(a.f)
	for count, names := 0, 0; ; count++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errdefs.New(errdefs.ErrInvalid, "archive: %w", err)
		}
		if names += len(h.Name) + len(h.Linkname); count >= maxEntries || names > maxNames {
			return errdefs.New(errdefs.ErrInvalid, "archive has more than %d entries, or %d bytes of names", maxEntries, maxNames)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		at, err := a.f.Seek(0, io.SeekCurrent) // tar.Reader reads headers only, up to where the content begins
		if err != nil {
			return err
		}
		if err := a.add(h, at, end); err != nil {
			return err
		}
	}
}

func (a *archive) add(h *tar.Header, at, end int64) error {
	name := inside(h.Name)
	switch h.Typeflag {
	case tar.TypeReg:
		if isSparse(h) {
			return errdefs.New(errdefs.ErrInvalid, "archive: entry %q is sparse", h.Name)
		}
		if h.Size > end-at {
			return errdefs.New(errdefs.ErrInvalid, "archive: entry %q is cut", h.Name)
		}
		a.entries[name] = entry{offset: at, size: h.Size}
	case tar.TypeSymlink:
		link := h.Linkname
		if !path.IsAbs(link) {
			link = path.Dir(name) + "/" + link
		}
		a.entries[name] = entry{link: inside(link)}
	case tar.TypeLink:
		a.entries[name] = entry{link: inside(h.Linkname)}
	}
	return nil
}

// inside makes any name one without leading slash and dots.
func inside(name string) string { return path.Clean("/" + name)[1:] }

func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// open implements files.
func (a *archive) open(name string) (io.ReadCloser, int64, error) {
	e, ok := a.entries[inside(name)]
	for range maxLinks {
		if !ok || e.link == "" {
			break
		}
		e, ok = a.entries[e.link]
	}
	if !ok || e.link != "" {
		return nil, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return io.NopCloser(io.NewSectionReader(a.f, e.offset, e.size)), e.size, nil
}

// kind tells what the archive holds; empty when it is neither. Recent versions of docker save write both.
func (a *archive) kind() Kind {
	if _, ok := a.entries["index.json"]; ok {
		return OCIArchive
	}
	if _, ok := a.entries["manifest.json"]; ok {
		return DockerArchive
	}
	return ""
}

func (a *archive) Close() error { return a.f.Close() }
