package ext4

import (
	"fmt"
	"io"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
)

// Stat returns the entry at path, without following a symbolic link there. The error is of class ErrNotFound when
// there is none.
func (w *Writer) Stat(path string) (Entry, error) {
	n, err := w.open(path)
	if err != nil {
		return Entry{}, err
	}
	sec, nsec := n.time()
	e := Entry{
		Path: path, Type: n.kind, Mode: n.mode & modePermBits, UID: n.uid, GID: n.gid,
		ModTime: time.Unix(sec, int64(nsec)),
	}
	switch n.kind {
	case Regular:
		e.Size = n.size
	case Symlink:
		if e.Linkname, err = w.readlink(n); err != nil {
			return Entry{}, fmt.Errorf("stat %q: %w", path, err)
		}
	case CharDevice, BlockDevice:
		e.Major, e.Minor = splitDevice(n.more.dev)
	}
	if e.Xattrs, err = w.readAttrs(n.attrs); err != nil {
		return Entry{}, fmt.Errorf("stat %q: %w", path, err)
	}
	return e, nil
}

// Type returns the type of the entry at path, and whether there is one. It is cheaper than Stat.
func (w *Writer) Type(path string) (Type, bool) {
	n, err := w.open(path)
	if err != nil {
		return 0, false
	}
	return n.kind, true
}

// ReadDir returns the sorted names in the directory at path.
func (w *Writer) ReadDir(path string) ([]string, error) {
	n, err := w.open(path)
	if err != nil {
		return nil, err
	}
	if n.dir == nil {
		return nil, errdefs.New(errdefs.ErrInvalid, "%q is not a directory", path)
	}
	return n.dir.sorted(), nil
}

// Open returns the content of the regular file at path, which must not be changed while it is read.
func (w *Writer) Open(path string) (io.Reader, error) {
	n, err := w.open(path)
	if err != nil {
		return nil, err
	}
	if n.kind != Regular {
		return nil, errdefs.New(errdefs.ErrInvalid, "%q is not a regular file", path)
	}
	return w.reader(n), nil
}

func (w *Writer) open(path string) (*node, error) {
	p, err := checkPath(path)
	if err != nil {
		return nil, err
	}
	ino, ok := w.find(p)
	if !ok {
		return nil, errdefs.New(errdefs.ErrNotFound, "%q: no such file", path)
	}
	return w.nodes.get(ino), nil
}

func (w *Writer) readlink(n *node) (string, error) {
	if len(n.extents()) == 0 {
		return n.more.target, nil
	}
	b, err := io.ReadAll(w.reader(n))
	return string(b), err
}

func (w *Writer) reader(n *node) io.Reader {
	return &reader{w: w, extents: n.extents(), size: n.size}
}

// reader reads a file block by block.
type reader struct {
	w       *Writer
	extents []extent // the first one ends after off
	off     int64
	size    int64
	buf     [blockSize]byte
	rest    []byte // of buf, not yet returned
}

func (r *reader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *reader) next() error {
	if r.off >= r.size {
		return io.EOF
	}
	logical := uint32(r.off / blockSize)
	for len(r.extents) > 0 && r.extents[0].logical+r.extents[0].n <= logical {
		r.extents = r.extents[1:]
	}
	clear(r.buf[:])
	if len(r.extents) > 0 && r.extents[0].logical <= logical {
		e := r.extents[0]
		if err := r.w.dev.readBlock(e.start+uint64(logical-e.logical), r.buf[:]); err != nil {
			return err
		}
	}
	n := min(r.size-r.off, blockSize)
	r.rest = r.buf[:n]
	r.off += n
	return nil
}
