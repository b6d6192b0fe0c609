package ext4

const (
	extentMagic    = 0xf30a
	extentSize     = 12 // of an entry, and of the header
	extentsInInode = 4
	extentsInBlock = (blockSize - extentSize) / extentSize
	extentTail     = extentSize * (1 + extentsInBlock)
	maxExtent      = 32768 // blocks
)

// extent maps n blocks of a file, from the block logical on, to blocks of the disk.
type extent struct {
	start   uint64
	logical uint32
	n       uint32
}

// appendExtent adds r at the block logical, after all others of the file.
func appendExtent(list []extent, logical uint32, r run) []extent {
	if len(list) > 0 {
		last := &list[len(list)-1]
		if last.logical+last.n == logical && last.start+uint64(last.n) == r.start && uint64(last.n)+r.n <= maxExtent {
			last.n += uint32(r.n)
			return list
		}
	}
	return append(list, extent{start: r.start, logical: logical, n: uint32(r.n)})
}

func blocksOf(list []extent) uint64 {
	n := uint64(0)
	for _, e := range list {
		n += uint64(e.n)
	}
	return n
}

// extentTree is the part of an inode that leads to extents that do not fit in it.
type extentTree struct {
	root   [blockFieldSize]byte
	blocks uint64
}

// indexEntry points to a block of an extent tree.
type indexEntry struct {
	logical uint32
	block   uint64
}

func encodeExtentHeader(b []byte, entries, most, depth int) {
	le.PutUint16(b[0:], extentMagic)
	le.PutUint16(b[2:], uint16(entries))
	le.PutUint16(b[4:], uint16(most))
	le.PutUint16(b[6:], uint16(depth))
}

func encodeExtents(b []byte, list []extent) {
	for i, e := range list {
		p := b[extentSize*(i+1):]
		le.PutUint32(p[0:], e.logical)
		le.PutUint16(p[4:], uint16(e.n))
		le.PutUint16(p[6:], uint16(e.start>>32))
		le.PutUint32(p[8:], uint32(e.start))
	}
}

func encodeIndex(b []byte, list []indexEntry) {
	for i, e := range list {
		p := b[extentSize*(i+1):]
		le.PutUint32(p[0:], e.logical)
		le.PutUint32(p[4:], uint32(e.block))
		le.PutUint16(p[8:], uint16(e.block>>32))
	}
}

// encodeExtentRoot writes at most four extents into an inode.
func encodeExtentRoot(b []byte, list []extent) {
	encodeExtentHeader(b, len(list), extentsInInode, 0)
	encodeExtents(b, list)
}

// writeTrees writes the extent blocks of every file that has more extents than fit in its inode.
func (w *Writer) writeTrees() error {
	for ino := uint32(rootIno); ino <= w.nodes.last; ino++ {
		list := w.nodes.get(ino).extents()
		if len(list) <= extentsInInode {
			continue
		}
		tree, err := w.writeTree(inodeSeed(w.seed, ino), list)
		if err != nil {
			return err
		}
		w.trees[ino] = tree
	}
	return nil
}

func (w *Writer) writeTree(seed uint32, list []extent) (*extentTree, error) {
	tree := new(extentTree)
	var level []indexEntry
	for len(list) > 0 {
		n := min(len(list), extentsInBlock)
		part := list[:n]
		list = list[n:]
		block, err := w.writeTreeBlock(seed, n, 0, func(b []byte) { encodeExtents(b, part) })
		if err != nil {
			return nil, err
		}
		level = append(level, indexEntry{part[0].logical, block})
		tree.blocks++
	}
	depth := 1
	for ; len(level) > extentsInInode; depth++ {
		var above []indexEntry
		for len(level) > 0 {
			n := min(len(level), extentsInBlock)
			part := level[:n]
			level = level[n:]
			block, err := w.writeTreeBlock(seed, n, depth, func(b []byte) { encodeIndex(b, part) })
			if err != nil {
				return nil, err
			}
			above = append(above, indexEntry{part[0].logical, block})
			tree.blocks++
		}
		level = above
	}
	encodeExtentHeader(tree.root[:], len(level), extentsInInode, depth)
	encodeIndex(tree.root[:], level)
	return tree, nil
}

func (w *Writer) writeTreeBlock(seed uint32, entries, depth int, encode func([]byte)) (uint64, error) {
	r, err := w.alloc.alloc(1)
	if err != nil {
		return 0, err
	}
	var b [blockSize]byte
	encodeExtentHeader(b[:], entries, extentsInBlock, depth)
	encode(b[:])
	le.PutUint32(b[extentTail:], crc32c(seed, b[:extentTail]))
	return r.start, w.dev.writeBlock(r.start, b[:])
}
