package flatten

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/ext4"
)

// merge adds the entries of layers to a tree.
type merge struct {
	tree     *tree
	limits   Limits
	result   Result
	warnings warnings
}

func newMerge(rootfs, seed *os.File, o Options) (*merge, error) {
	o.Limits = o.Limits.orDefault()
	t, err := newTree(rootfs, seed, o)
	if err != nil {
		return nil, err
	}
	return &merge{tree: t, limits: o.Limits}, nil
}

func (m *merge) layer(ctx context.Context, l Layer) (err error) {
	stream, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if closing := stream.Close(); err == nil { // else it was not read to its end, and that is why
			err = closing
		}
	}()
	m.tree.nextLayer()
	if err := m.read(&source{ctx: ctx, r: stream}); err != nil {
		return err
	}
	return m.tree.dropLinkStore()
}

func (m *merge) read(r *source) error {
	archive := tar.NewReader(r)
	var last *tar.Header
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return drain(r)
		}
		if err != nil {
			return r.blame(fmt.Errorf("read archive after %s: %w", place(last), err))
		}
		last = h
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		if err := m.add(h, body{archive, r}); err != nil {
			return fmt.Errorf("%s: %w", place(h), err)
		}
	}
}

func place(h *tar.Header) string {
	if h == nil {
		return "its start"
	}
	return fmt.Sprintf("entry %q", h.Name)
}

func (m *merge) add(h *tar.Header, content io.Reader) error {
	if err := m.count(h); err != nil {
		return err
	}
	path, err := cleanPath(h.Name)
	if err != nil {
		return err
	}
	mark, err := parseMark(path)
	if err != nil {
		return err
	}
	if mark.isFile(h) {
		return m.addFile(path, h, content)
	}
	return m.apply(mark)
}

// count keeps the entry within the limits.
func (m *merge) count(h *tar.Header) error {
	m.result.Entries++
	if m.result.Entries > m.limits.Entries {
		return errdefs.New(errdefs.ErrInvalid, "more than %d entries", m.limits.Entries)
	}
	if h.Size < 0 || h.Size > m.limits.Bytes-m.result.Bytes {
		return errdefs.New(errdefs.ErrInvalid, "the files have more than %d bytes", m.limits.Bytes)
	}
	m.result.Bytes += h.Size
	return nil
}

func (m *merge) addFile(path string, h *tar.Header, content io.Reader) error {
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
		m.warnings.add("/root is not a directory in the image; it has an empty one")
		return m.tree.resetWorkDir()
	}
	return m.tree.add(at, e, content)
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
		return m.tree.link(at, target)
	}
	m.warnings.add("hard links between /root and other directories became copies")
	return m.tree.copyFile(at, target, m.limits.Bytes-m.result.Bytes, &m.result.Bytes)
}
