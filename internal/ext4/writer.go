package ext4

import (
	"crypto/sha256"
	"fmt"
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
	layer     uint32
	nodes     nodeTable
	attrs     attrPool
	trees     map[uint32]*extentTree
	chunk     []byte
	released  uint64   // blocks from here on were never given back
	extents   []extent // for the file that is being added
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

// usable refuses changes after Close.
func (w *Writer) usable() error {
	if w.closed {
		return errdefs.New(errdefs.ErrState, "the file system is complete")
	}
	return nil
}

// plan decides on the layout, as far as it is known.
func (w *Writer) plan() error {
	if w.o.Size == 0 {
		exact := &layout{descBlocks: exactDescBlocks}
		w.alloc = allocator{limit: exactDescBlocks * descPerBlock * blocksPerGroup, base: exact.base}
		w.maxInodes = 1<<32 - maxPerGroup
		if w.o.Inodes > 0 {
			w.maxInodes = uint64(w.o.Inodes)
		}
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
	root := node{mode: modeDir | 0o755, kind: Directory, dir: newDirectory(rootIno, 0)}
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
	for _, step := range []func() error{w.writeDirs, w.writeTrees, w.sealShared, w.scrub, w.settle} {
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
