// Package flatten turns a tar stream into the disks of an image, in one pass and without unpacking it: a read-only
// root file system, and a writable work seed that holds what the archive has under /root.
//
// The stream is foreign: what cannot be represented is refused with the name of the entry. No path in it can reach
// anything but the two file systems, because nothing is ever looked up on the host.
package flatten

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/ext4"
)

// DefaultSeedSize is the size of a work seed, in bytes. Little of it is allocated: the file is sparse.
const DefaultSeedSize = 16 << 30

// Options are the choices of a caller. The zero value is good.
type Options struct {
	SeedSize int64     // bytes; 0: DefaultSeedSize
	Epoch    time.Time // of what the archive gives no time; zero: 1970
	Limits   Limits
}

// Result tells what was found.
type Result struct {
	Entries     int      // of the archive
	SeedEntries int      // of these, those that went to the work seed
	Bytes       int64    // of file content
	Warnings    []string // what is represented otherwise than it was, a sentence each
}

// Tar reads one uncompressed tar archive from r up to its end and writes the file systems into rootfs and seed, both
// open for reading and writing. With a nil seed, all goes to rootfs. The files are not synced. After an error, which
// is of class ErrInvalid when the archive is to blame, the files are of no use.
func Tar(ctx context.Context, r io.Reader, rootfs, seed *os.File, o Options) (Result, error) {
	t, err := newTree(rootfs, seed, o)
	if err != nil {
		return Result{}, fmt.Errorf("flatten archive: %w", err)
	}
	m := &merge{tree: t, limits: o.Limits.orDefault()}
	if err := m.read(&source{ctx: ctx, r: r}); err != nil {
		return Result{}, fmt.Errorf("flatten archive: %w", err)
	}
	if err := t.close(); err != nil {
		return Result{}, fmt.Errorf("flatten archive: %w", err)
	}
	m.result.Warnings = m.warnings.list()
	return m.result, nil
}

// merge adds the entries of an archive to a tree.
type merge struct {
	tree     *tree
	limits   Limits
	result   Result
	warnings warnings
}

func (m *merge) read(r *source) error {
	archive := tar.NewReader(r)
	last := "its start"
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return r.blame(fmt.Errorf("read archive after %s: %w", last, err))
		}
		last = fmt.Sprintf("entry %q", h.Name)
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := m.add(h, body{archive, r}); err != nil {
			return fmt.Errorf("%s: %w", last, err)
		}
	}
	if m.result.Entries == 0 {
		return errdefs.New(errdefs.ErrInvalid, "the archive is empty")
	}
	return drain(r)
}

func (m *merge) add(h *tar.Header, content io.Reader) error {
	if err := m.count(h); err != nil {
		return err
	}
	path, err := cleanPath(h.Name)
	if err != nil {
		return err
	}
	at, err := m.tree.resolve(path)
	if err != nil {
		return err
	}
	if at.seed {
		m.result.SeedEntries++
	}
	if h.Typeflag == tar.TypeLink {
		return m.link(at, h)
	}
	e, err := m.entry(h)
	if err != nil {
		return err
	}
	if at.workDir && e.Type != ext4.Directory {
		m.warnings.add("/root is not a directory in the archive; the image has an empty one")
		return nil
	}
	return m.tree.add(at, e, content)
}

// count keeps the entry within the limits.
func (m *merge) count(h *tar.Header) error {
	m.result.Entries++
	if m.result.Entries > m.limits.Entries {
		return errdefs.New(errdefs.ErrInvalid, "more than %d entries", m.limits.Entries)
	}
	if h.Size < 0 || h.Size > m.limits.Bytes-m.result.Bytes {
		return errdefs.New(errdefs.ErrInvalid, "the archive's files have more than %d bytes", m.limits.Bytes)
	}
	m.result.Bytes += h.Size
	return nil
}

func (m *merge) link(at location, h *tar.Header) error {
	path, err := cleanPath(h.Linkname)
	if err != nil {
		return err
	}
	target, err := m.tree.resolve(path)
	if err != nil {
		return err
	}
	if at.workDir {
		return errdefs.New(errdefs.ErrInvalid, "/root cannot be a hard link")
	}
	if at.seed == target.seed {
		return m.tree.writer(at).Link(at.path, target.path)
	}
	m.warnings.add("hard links between /root and other directories became copies")
	return m.tree.copyFile(at, target, m.limits.Bytes-m.result.Bytes, &m.result.Bytes)
}
