package seed

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/ext4"
)

// Tar writes the file system of rootfs to w as one archive, with the content of seed, when there is one, as /root. It is
// what package flatten reads: a layer of an OCI image. The entries are ordered by name, parents first.
func Tar(ctx context.Context, w io.Writer, rootfs Disk, seed *Disk, o Options) (Result, error) {
	archive := tar.NewWriter(w)
	c := newCopier(ctx, o.Limits)
	err := c.merge(rootfs, seed, tarFile{archive})
	if err == nil {
		err = archive.Close()
	}
	if err != nil {
		return Result{}, fmt.Errorf("export file system: %w", err)
	}
	return c.done(), nil
}

const xattrRecord = "SCHILY.xattr."

// tarFile is the sink that makes an archive.
type tarFile struct{ w *tar.Writer }

func (s tarFile) holds(e ext4.Entry) error {
	if e.Type == ext4.Socket {
		return fmt.Errorf("%q, because archives have no sockets", e.Path)
	}
	return nil
}

func (s tarFile) holdsAttr(name string, value []byte) error {
	if strings.ContainsAny(name, "=\x00") {
		return errdefs.New(errdefs.ErrInvalid, "extended attribute %q: archives have no place for this name", name)
	}
	return ext4.CheckXattr(name, value)
}

func (s tarFile) add(e ext4.Entry, content io.Reader) error {
	h := &tar.Header{
		Name: e.Path, Mode: int64(e.Mode), Uid: int(e.UID), Gid: int(e.GID), ModTime: e.ModTime,
		Linkname: e.Linkname, Size: e.Size, Devmajor: int64(e.Major), Devminor: int64(e.Minor),
		Typeflag: typeflag[e.Type], Format: tar.FormatPAX,
	}
	if e.Type == ext4.Directory {
		h.Name = strings.TrimPrefix(e.Path+"/", "/")
		if e.Path == "" {
			h.Name = "./"
		}
	}
	if len(e.Xattrs) > 0 {
		h.PAXRecords = make(map[string]string, len(e.Xattrs))
	}
	for name, value := range e.Xattrs {
		h.PAXRecords[xattrRecord+name] = string(value)
	}
	if err := s.w.WriteHeader(h); err != nil {
		return fmt.Errorf("%q: %w", e.Path, err)
	}
	if e.Size == 0 {
		return nil
	}
	if _, err := io.CopyBuffer(onlyWriter{s.w}, io.LimitReader(content, e.Size), make([]byte, 256<<10)); err != nil {
		return fmt.Errorf("%q: %w", e.Path, err)
	}
	return nil
}

// onlyWriter hides ReadFrom, which copies in small pieces.
type onlyWriter struct{ io.Writer }

var typeflag = map[ext4.Type]byte{
	ext4.Regular: tar.TypeReg, ext4.Directory: tar.TypeDir, ext4.Symlink: tar.TypeSymlink, ext4.CharDevice: tar.TypeChar,
	ext4.BlockDevice: tar.TypeBlock, ext4.FIFO: tar.TypeFifo,
}

func (s tarFile) link(path, target string) error {
	err := s.w.WriteHeader(&tar.Header{Name: path, Linkname: target, Typeflag: tar.TypeLink, Format: tar.FormatPAX})
	if err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	return nil
}
