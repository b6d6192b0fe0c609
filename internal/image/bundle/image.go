package bundle

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/ext4"
	"github.com/banger-dev/banger/internal/ext4/ext4fs"
)

// Write writes a bundle of an image to w and returns its sha256. It sets the parts of m that follow from rootfs, which is
// read twice.
func Write(ctx context.Context, w io.Writer, m Manifest, rootfs *os.File) (sha256 string, err error) {
	if sha256, err = write(ctx, w, m, rootfs); err != nil {
		return "", fmt.Errorf("write bundle: %w", err)
	}
	return sha256, nil
}

func write(ctx context.Context, w io.Writer, m Manifest, rootfs *os.File) (string, error) {
	if err := checkRootfs(rootfs); err != nil {
		return "", err
	}
	m.Format, m.Kind = FormatVersion, KindImage
	if m.Arch == "" {
		m.Arch = Arch
	}
	var err error
	if m.Rootfs, err = describe(ctx, rootfs); err != nil {
		return "", err
	}
	if err := m.check(); err != nil {
		return "", err
	}
	p, err := newPacker(ctx, w)
	if err != nil {
		return "", err
	}
	if err := p.manifest(m); err != nil {
		return "", err
	}
	if err := p.file(rootfsFile, rootfs, m.Rootfs); err != nil {
		return "", err
	}
	return p.finish()
}

// Read reads a bundle of an image from r up to its end and writes its root file system into rootfs, which is open for
// reading and writing; zeros become holes. want is the sha256 that the bundle must have, "" for any. What was read is of
// use only when the error is nil; the error is of class errdefs.ErrInvalid when the bundle is to blame.
func Read(ctx context.Context, r io.Reader, want string, rootfs *os.File, l Limits) (Manifest, error) {
	m, err := read(ctx, r, want, rootfs, l)
	if err != nil {
		return Manifest{}, fmt.Errorf("read bundle: %w", err)
	}
	return m, nil
}

func read(ctx context.Context, r io.Reader, want string, rootfs *os.File, l Limits) (Manifest, error) {
	if want != "" {
		var err error
		if want, err = ParseDigest(want); err != nil {
			return Manifest{}, err
		}
	}
	a, err := open(ctx, r, l)
	if err != nil {
		return Manifest{}, err
	}
	defer a.close()
	i := image{rootfs: rootfs}
	for {
		h, err := a.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = i.take(a, h)
		}
		if err != nil {
			return Manifest{}, err
		}
	}
	if err := a.finish(want); err != nil {
		return Manifest{}, err
	}
	return i.check()
}

// image is what was read of a bundle.
type image struct {
	rootfs   *os.File
	manifest *Manifest
	got      *File
}

func (i *image) take(a *archive, h *tar.Header) error {
	switch {
	case !regular(h):
		return refuse(h)
	case h.Name == manifestFile:
		data, err := a.manifest(h)
		if err != nil {
			return err
		}
		m, err := parseImage(data)
		i.manifest = &m
		return err
	case h.Name != rootfsFile:
		return refuse(h)
	}
	if i.manifest != nil && i.manifest.Rootfs.Size != h.Size {
		return invalid("%s: it has %d bytes, the manifest says %d", rootfsFile, h.Size, i.manifest.Rootfs.Size)
	}
	w, err := newSparse(i.rootfs)
	if err != nil {
		return err
	}
	got, err := a.store(h, w)
	if err != nil {
		return err
	}
	i.got = &got
	return w.close()
}

func (i *image) check() (Manifest, error) {
	for _, missing := range []struct {
		name string
		is   bool
	}{{manifestFile, i.manifest == nil}, {rootfsFile, i.got == nil}} {
		if missing.is {
			return Manifest{}, invalid("it has no %s", missing.name)
		}
	}
	if err := checksum(rootfsFile, *i.got, i.manifest.Rootfs); err != nil {
		return Manifest{}, err
	}
	return *i.manifest, checkRootfs(i.rootfs)
}

// checkRootfs makes sure that f has a whole ext4 with a root directory.
func checkRootfs(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	fs, err := ext4fs.Open(f, info.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", rootfsFile, err)
	}
	root, err := fs.Stat("")
	if err != nil {
		return fmt.Errorf("%s: %w", rootfsFile, err)
	}
	if root.Type != ext4.Directory {
		return errdefs.New(errdefs.ErrInvalid, "%s: its root is not a directory", rootfsFile)
	}
	return nil
}
