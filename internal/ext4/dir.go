package ext4

import (
	"maps"
	"slices"
)

const (
	direntHead = 8
	dirTail    = 12 // a false entry at the end of a block that holds its checksum
	dirRoom    = blockSize - dirTail
	maxName    = 255
)

// directory is the content of a directory in memory.
type directory struct {
	parent  uint32
	subdirs uint32
	fresh   uint32 // in this layer, nothing of an older one is in it
	names   map[string]link
}

// link is what a name leads to.
type link struct {
	ino   uint32
	layer uint32 // that last put something at or below this name; see [Writer.NextLayer]
}

func newDirectory(parent, layer uint32) *directory {
	return &directory{parent: parent, fresh: layer, names: make(map[string]link)}
}

func (d *directory) links() uint32 {
	if d.subdirs+2 > maxDirLinks {
		return 1
	}
	return d.subdirs + 2
}

func (d *directory) sorted() []string { return slices.Sorted(maps.Keys(d.names)) }

// dirent is an entry as it is on disk.
type dirent struct {
	name string
	ino  uint32
	kind byte
}

func direntSize(name string) int { return (direntHead + len(name) + 3) &^ 3 }

// encodeDirent writes e into the first size bytes of b.
func encodeDirent(b []byte, e dirent, size int) {
	le.PutUint32(b[0:], e.ino)
	le.PutUint16(b[4:], uint16(size))
	b[6] = byte(len(e.name))
	b[7] = e.kind
	copy(b[direntHead:], e.name)
}

// encodeDirBlock writes a block of entries, which must fit. The last one owns the rest of the block.
func encodeDirBlock(b []byte, entries []dirent, seed uint32) {
	at := 0
	for i, e := range entries {
		size := direntSize(e.name)
		if i == len(entries)-1 {
			size = dirRoom - at
		}
		encodeDirent(b[at:], e, size)
		at += size
	}
	tail := b[dirRoom:]
	le.PutUint16(tail[4:], dirTail)
	tail[7] = 0xde
	le.PutUint32(tail[8:], crc32c(seed, b[:dirRoom]))
}

func (w *Writer) writeDirs() error {
	for ino := uint32(rootIno); ino <= w.nodes.last; ino++ {
		if n := w.nodes.get(ino); n.dir != nil {
			if err := w.writeDir(ino, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeDir writes a directory: one sorted block where that is enough, else a hash tree (dir_index).
func (w *Writer) writeDir(ino uint32, n *node) error {
	dots := []dirent{{".", ino, direntOf[Directory]}, {"..", n.dir.parent, direntOf[Directory]}}
	entries := make([]dirent, 0, len(n.dir.names)+2)
	size := 0
	for _, name := range n.dir.sorted() {
		child := n.dir.names[name].ino
		entries = append(entries, dirent{name, child, direntOf[w.nodes.get(child).kind]})
		size += direntSize(name)
	}
	seed := inodeSeed(w.seed, ino)
	if size+2*12 <= dirRoom {
		var b [blockSize]byte
		encodeDirBlock(b[:], append(dots, entries...), seed)
		return w.writeDirBlocks(n, 1, func(uint32) []byte { return b[:] })
	}
	tree := newHashTree(dots, entries, w.hashSeed, seed)
	if tree == nil {
		return tooManyNames(len(entries))
	}
	return w.writeDirBlocks(n, tree.blocks(), tree.encode)
}

// writeDirBlocks allocates and writes count blocks, which encode returns by number. The slice is used before the next
// call.
func (w *Writer) writeDirBlocks(n *node, count uint32, encode func(uint32) []byte) error {
	n.size = int64(count) * blockSize
	var list []extent
	for logical := uint32(0); logical < count; {
		r, err := w.alloc.alloc(uint64(count - logical))
		if err != nil {
			return err
		}
		list = appendExtent(list, logical, r)
		for i := range r.n {
			if err := w.dev.writeBlock(r.start+i, encode(logical+uint32(i))); err != nil {
				return err
			}
		}
		logical += uint32(r.n)
	}
	n.setExtents(list)
	return nil
}
