package ext4

const (
	groupInodesUnset = 1 // the inode bitmap is not written: no inode is in use
	groupBlocksUnset = 2 // nor the block bitmap: only the base blocks are in use
	groupTableZeroed = 4 // the unused inodes are zeros, Linux need not make them so
)

// group is what a group descriptor says.
type group struct {
	place
	freeBlocks, freeInodes, dirs, unusedInodes uint32 // unusedInodes: at the end of the table
	flags                                      uint16
	blockSum, inodeSum                         uint32
}

// encodeGroup writes descriptor number i into b, which is 64 zero bytes.
func encodeGroup(b []byte, i uint32, fsSeed uint32, g *group) {
	put64 := func(low, high int, v uint64) {
		le.PutUint32(b[low:], uint32(v))
		le.PutUint32(b[high:], uint32(v>>32))
	}
	put32 := func(low, high int, v uint32) {
		le.PutUint16(b[low:], uint16(v))
		le.PutUint16(b[high:], uint16(v>>16))
	}
	put64(0x00, 0x20, g.blockBitmap)
	put64(0x04, 0x24, g.inodeBitmap)
	put64(0x08, 0x28, g.inodeTable)
	put32(0x0c, 0x2c, g.freeBlocks)
	put32(0x0e, 0x2e, g.freeInodes)
	put32(0x10, 0x30, g.dirs)
	le.PutUint16(b[0x12:], g.flags)
	put32(0x18, 0x38, g.blockSum)
	put32(0x1a, 0x3a, g.inodeSum)
	put32(0x1c, 0x32, g.unusedInodes)
	le.PutUint16(b[0x1e:], uint16(crc32c(crc32cUint32(fsSeed, i), b[:descSize])))
}

// writeGroups writes the inode tables and bitmaps and returns the group descriptors.
func (w *Writer) writeGroups() ([]group, error) {
	list := make([]group, w.layout.groups())
	for i := range list {
		g := &list[i]
		g.place = w.layout.places[i]
		g.flags = groupTableZeroed
		if err := w.writeInodes(uint64(i), g); err != nil {
			return nil, err
		}
		if err := w.writeBlockBitmap(uint64(i), g); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (w *Writer) writeBlockBitmap(i uint64, g *group) error {
	var b *bitmap
	if i < uint64(len(w.alloc.groups)) {
		b = w.alloc.groups[i]
	}
	if b == nil && i+1 == w.layout.groups() {
		b = w.alloc.group(i) // e2fsck wants the last one written
	}
	if b == nil {
		g.flags |= groupBlocksUnset
		g.freeBlocks = uint32(w.layout.groupBlocks(i) - w.layout.base(i))
		return nil
	}
	g.freeBlocks = blocksPerGroup - b.used()
	g.blockSum = crc32c(w.seed, b[:])
	return w.dev.writeBlock(g.blockBitmap, b[:])
}

// writeInodes writes the inodes of group i that are in use, and their bitmap.
func (w *Writer) writeInodes(i uint64, g *group) error {
	perGroup := w.layout.inodesPerGroup
	first := i*perGroup + 1
	var b bitmap
	g.freeInodes, g.unusedInodes = uint32(perGroup), uint32(perGroup)
	for k := range perGroup {
		ino := first + k
		if ino > max(uint64(w.nodes.last), firstFreely-1) {
			break
		}
		if !w.nodes.used(uint32(ino)) {
			continue
		}
		b.set(k, k+1)
		g.freeInodes--
		g.unusedInodes = uint32(perGroup - k - 1)
		if w.nodes.get(uint32(ino)).dir != nil {
			g.dirs++
		}
	}
	if g.freeInodes == uint32(perGroup) {
		g.flags |= groupInodesUnset
		return nil
	}
	if err := w.writeTable(first, g); err != nil {
		return err
	}
	b.set(perGroup, blocksPerGroup)
	g.inodeSum = crc32c(w.seed, b[:perGroup/8])
	return w.dev.writeBlock(g.inodeBitmap, b[:])
}

// writeTable writes the part of a group's inode table that is in use, but not the blocks of it that are zero.
func (w *Writer) writeTable(first uint64, g *group) error {
	var b [blockSize]byte
	count := w.layout.inodesPerGroup - uint64(g.unusedInodes)
	for at := uint64(0); at < count; at += inodesPerBlock {
		clear(b[:])
		written := false
		for k := at; k < min(at+inodesPerBlock, count); k++ {
			ino := uint32(first + k)
			if n := w.nodes.get(ino); n.mode != 0 {
				encodeInode(b[(k-at)*inodeSize:][:inodeSize], ino, w.seed, w.image(ino, n))
				written = true
			}
		}
		if !written {
			continue
		}
		if err := w.dev.writeBlock(g.inodeTable+at/inodesPerBlock, b[:]); err != nil {
			return err
		}
	}
	return nil
}
