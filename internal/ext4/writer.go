package ext4

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
)

// Writer makes a file system from entries. It is for one goroutine. After an error of class ErrInvalid, or one of an
// entry's content, it can go on without that entry; any other error spoils it.
type Writer struct {
	o         Options
	label     [16]byte
	seed      uint32    // of checksums
	hashSeed  [4]uint32 // of names in directories
	dev       *device
	alloc     allocator
	layout    *layout // nil until Close when the size is not given
	maxInodes uint64
	nodes     nodeTable
	attrs     attrPool
	trees     map[uint32]*extentTree
	chunk     []byte
	closed    bool

	resizeMap    uint64 // block of the resize inode; 0: there is none
	resizeBlocks uint64
}

// NewWriter starts a file system in f, which must be open for reading and writing and whose former content is lost.
// The caller calls Close to complete it, or just drops f. The writer does not sync f.
func NewWriter(f *os.File, o Options) (*Writer, error) {
	label, err := checkLabel(o.Label)
	if err != nil {
		return nil, err
	}
	if o.Epoch.IsZero() {
		o.Epoch = time.Unix(0, 0)
	}
	digest := sha256.Sum256(fmt.Appendf(nil, "banger ext4 %q %d", o.Label, o.Size))
	if o.UUID == [16]byte{} {
		copy(o.UUID[:], digest[:])
		o.UUID[6] = o.UUID[6]&0x0f | 0x80 // version 8, variant of RFC 9562
		o.UUID[8] = o.UUID[8]&0x3f | 0x80
	}
	w := &Writer{
		o: o, label: label, seed: uuidSeed(o.UUID),
		attrs: make(attrPool), trees: make(map[uint32]*extentTree), chunk: make([]byte, chunkSize),
	}
	digest = sha256.Sum256(o.UUID[:])
	for i := range w.hashSeed {
		w.hashSeed[i] = le.Uint32(digest[4*i:])
	}
	if err := w.plan(); err != nil {
		return nil, err
	}
	if w.dev, err = newDevice(f, o.Size); err != nil {
		return nil, err
	}
	return w, w.begin()
}

// plan decides on the layout, as far as it is known.
func (w *Writer) plan() error {
	if w.o.Size == 0 {
		exact := &layout{descBlocks: exactDescBlocks}
		w.alloc = allocator{limit: exactDescBlocks * descPerBlock * blocksPerGroup, base: exact.base}
		w.maxInodes = 1<<32 - maxPerGroup
		return nil
	}
	l, err := planFixed(w.o)
	if err != nil {
		return err
	}
	w.layout = l
	w.alloc = allocator{limit: l.blocks, base: l.base}
	w.maxInodes = l.inodes()
	if err := l.placeFixed(&w.alloc); err != nil {
		return tooSmall(w.o)
	}
	return nil
}

// begin makes what comes before the first entry.
func (w *Writer) begin() error {
	w.nodes.reserve(firstFreely - 1)
	root := node{mode: modeDir | 0o755, kind: Directory, dir: newDirectory(rootIno)}
	root.setTime(w.o.Epoch, w.o.Epoch)
	*w.nodes.get(rootIno) = root
	if w.layout == nil {
		return nil
	}
	if w.layout.reserved > 0 {
		if err := w.writeResizeInode(); err != nil {
			return err
		}
	}
	if w.o.Journal {
		return w.writeJournal(journalBlocks(w.layout.blocks))
	}
	return nil
}

// Add puts an entry where e.Path says, in place of what is there; a directory only changes the attributes of a
// directory. Missing parents are made, with mode 0755. A regular file's e.Size bytes are read from content.
func (w *Writer) Add(e Entry, content io.Reader) error {
	if err := w.add(e, content); err != nil {
		return fmt.Errorf("add %q: %w", e.Path, err)
	}
	return nil
}

func (w *Writer) add(e Entry, content io.Reader) error {
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
	if exists && e.Type == Directory && w.nodes.get(old).dir != nil {
		return w.setAttributes(w.nodes.get(old), e)
	}
	n, err := w.newNode(e, content)
	if err != nil {
		return errors.Join(err, w.discardNode(&n))
	}
	if exists {
		if err := w.detach(dir, name); err != nil {
			return err
		}
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
	n.extents, err = w.storeEntry(&n, e, content)
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
			n.target = e.Linkname
			return nil, nil
		}
		return w.storeData(nil, 0, []byte(e.Linkname))
	case CharDevice, BlockDevice:
		n.dev = joinDevice(e.Major, e.Minor)
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
	return w.dropAttrs(old)
}

// Link makes path another name of target, which must exist and not be a directory, in place of what is there.
func (w *Writer) Link(path, target string) error {
	if err := w.link(path, target); err != nil {
		return fmt.Errorf("link %q to %q: %w", path, target, err)
	}
	return nil
}

func (w *Writer) link(path, target string) error {
	path, err := checkPath(path)
	if err != nil {
		return err
	}
	if target, err = checkPath(target); err != nil {
		return err
	}
	ino, ok := w.find(target)
	if !ok {
		return errdefs.New(errdefs.ErrInvalid, "the target does not exist")
	}
	n := w.nodes.get(ino)
	if n.dir != nil {
		return errdefs.New(errdefs.ErrInvalid, "the target is a directory")
	}
	if old, ok := w.find(path); ok && old == ino {
		return nil
	}
	if n.links >= maxFileLinks {
		return errdefs.New(errdefs.ErrInvalid, "the target has %d names already", n.links)
	}
	if path == "" {
		return errdefs.New(errdefs.ErrInvalid, "the root must be a directory")
	}
	dir, name, err := w.parent(path)
	if err != nil {
		return err
	}
	n.links++ // before detach, which might remove the target's only name with a directory
	names := w.nodes.get(dir).dir.names
	if _, ok := names[name]; ok {
		if err := w.detach(dir, name); err != nil {
			return err
		}
	}
	names[name] = ino
	return nil
}

// Remove removes what is at path, with all below it. Its blocks are used again. Of the root, it removes the content.
// What does not exist is an error of class ErrNotFound.
func (w *Writer) Remove(path string) error {
	p, err := checkPath(path)
	if err != nil {
		return fmt.Errorf("remove %q: %w", path, err)
	}
	ino, ok := w.find(p)
	if !ok {
		return errdefs.New(errdefs.ErrNotFound, "remove %q: no such file", path)
	}
	if p == "" {
		for _, name := range w.nodes.get(ino).dir.sorted() {
			if err := w.detach(ino, name); err != nil {
				return fmt.Errorf("remove %q: %w", name, err)
			}
		}
		return nil
	}
	dir, name, err := w.parent(p)
	if err == nil {
		err = w.detach(dir, name)
	}
	if err != nil {
		return fmt.Errorf("remove %q: %w", path, err)
	}
	return nil
}

// Close completes the file system. It does not close or sync the file.
func (w *Writer) Close() error {
	if w.closed {
		return nil
	}
	w.closed = true
	if err := w.finish(); err != nil {
		return fmt.Errorf("complete file system: %w", err)
	}
	return nil
}

func (w *Writer) finish() error {
	for _, step := range []func() error{w.writeDirs, w.writeTrees, w.sealShared, w.settle} {
		if err := step(); err != nil {
			return err
		}
	}
	groups, err := w.writeGroups()
	if err != nil {
		return err
	}
	if err := w.writeSupers(groups); err != nil {
		return err
	}
	return w.dev.flush()
}

// settle decides on the layout of a file system without a given size.
func (w *Writer) settle() error {
	if w.o.Size != 0 {
		return nil
	}
	if w.o.Journal {
		if err := w.writeJournal(journalBlocks(w.alloc.end())); err != nil {
			return err
		}
	}
	l, err := planExact(&w.alloc, uint64(w.nodes.last))
	if err != nil {
		return err
	}
	w.layout = l
	w.alloc.base = l.base
	if err := w.dev.flush(); err != nil {
		return err
	}
	return w.dev.resize(int64(l.blocks) * blockSize)
}
