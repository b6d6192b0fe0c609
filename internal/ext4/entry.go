package ext4

import (
	"fmt"
	"io"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
)

// Add puts an entry where e.Path says, in place of what is there; a directory only changes the attributes of a
// directory. Missing parents are made, with mode 0755. A regular file's e.Size bytes are read from content.
func (w *Writer) Add(e Entry, content io.Reader) error {
	if err := w.add(e, content); err != nil {
		return fmt.Errorf("add %q: %w", e.Path, err)
	}
	return nil
}

func (w *Writer) add(e Entry, content io.Reader) error {
	if err := w.usable(); err != nil {
		return err
	}
	p, err := checkPath(e.Path)
	if err != nil {
		return err
	}
	if err := checkEntry(e); err != nil {
		return err
	}
	if p == "" {
		if e.Type != Directory {
			return errdefs.New(errdefs.ErrInvalid, "the root must be a directory")
		}
		return w.setAttributes(w.nodes.get(rootIno), e)
	}
	dir, name, err := w.parent(p)
	if err != nil {
		return err
	}
	old, exists := w.nodes.get(dir).dir.names[name]
	if exists && e.Type == Directory && w.nodes.get(old.ino).dir != nil {
		w.touch(dir, name)
		return w.setAttributes(w.nodes.get(old.ino), e)
	}
	n, err := w.newNode(e, content)
	if err != nil {
		w.discardNode(&n)
		return err
	}
	if exists {
		w.detach(dir, name)
	}
	_, err = w.attach(dir, name, n)
	return err
}

func checkEntry(e Entry) error {
	switch {
	case int(e.Type) >= len(modeOf):
		return errdefs.New(errdefs.ErrInvalid, "unknown type %d", e.Type)
	case e.Mode&^modePermBits != 0:
		return errdefs.New(errdefs.ErrInvalid, "mode %#o has more than permission bits", e.Mode)
	case e.Type == Regular && (e.Size < 0 || e.Size > maxSize):
		return errdefs.New(errdefs.ErrInvalid, "a file cannot have %d bytes", e.Size)
	case e.Type == Symlink && (e.Linkname == "" || len(e.Linkname) >= blockSize):
		return errdefs.New(errdefs.ErrInvalid, "target of a symbolic link has %d bytes", len(e.Linkname))
	case e.Major > 0xfff || e.Minor > 0xfffff:
		return errdefs.New(errdefs.ErrInvalid, "device number %d:%d is out of range", e.Major, e.Minor)
	}
	return nil
}

// newNode makes the node of e and writes its content. After an error, the node has what is to be discarded.
func (w *Writer) newNode(e Entry, content io.Reader) (n node, err error) {
	n.kind = e.Type
	list, err := w.storeEntry(&n, e, content)
	n.setExtents(list)
	w.extents = list[:0]
	if err != nil {
		return n, err
	}
	return n, w.setAttributes(&n, e)
}

func (w *Writer) storeEntry(n *node, e Entry, content io.Reader) ([]extent, error) {
	switch e.Type {
	case Regular:
		n.size = e.Size
		return w.store(content, e.Size)
	case Symlink:
		n.size = int64(len(e.Linkname))
		if len(e.Linkname) < blockFieldSize {
			n.others().target = strings.Clone(e.Linkname)
			return nil, nil
		}
		return w.storeData(nil, 0, []byte(e.Linkname))
	case CharDevice, BlockDevice:
		n.others().dev = joinDevice(e.Major, e.Minor)
	}
	return nil, nil
}

// setAttributes sets what an entry has besides content.
func (w *Writer) setAttributes(n *node, e Entry) error {
	set, err := w.useAttrs(e.Xattrs)
	if err != nil {
		return err
	}
	old := n.attrs
	n.attrs = set
	n.mode = modeOf[n.kind] | e.Mode
	n.uid, n.gid = e.UID, e.GID
	n.setTime(e.ModTime, w.o.Epoch)
	w.dropAttrs(old)
	return nil
}
