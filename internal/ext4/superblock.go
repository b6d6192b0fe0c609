package ext4

import "github.com/banger-dev/banger/internal/errdefs"

const (
	superOffset = 1024 // in block 0; copies are at the start of their block
	superSize   = 1024

	compatJournal     = 0x4
	compatXattr       = 0x8
	compatResizeInode = 0x10
	compatDirIndex    = 0x20

	incompatFiletype = 0x2
	incompatExtents  = 0x40
	incompat64bit    = 0x80
	incompatFlexBG   = 0x200

	roSparseSuper  = 0x1
	roLargeFile    = 0x2
	roHugeFile     = 0x8
	roDirNlink     = 0x20
	roExtraIsize   = 0x40
	roMetadataCsum = 0x400
	roReadOnly     = 0x1000

	defaultMountOptions = 0x4 | 0x8 // user_xattr, acl
)

// checkLabel returns the label padded as on disk.
func checkLabel(label string) ([16]byte, error) {
	var b [16]byte
	if len(label) > len(b) {
		return b, errdefs.New(errdefs.ErrInvalid, "label %q of a file system is longer than 16 bytes", label)
	}
	copy(b[:], label)
	return b, nil
}

// superblock returns the superblock but for what differs between copies.
func (w *Writer) superblock(groups []group) *[superSize]byte {
	b := new([superSize]byte)
	l := w.layout
	var freeBlocks, freeInodes uint64
	for _, g := range groups {
		freeBlocks += uint64(g.freeBlocks)
		freeInodes += uint64(g.freeInodes)
	}
	le.PutUint32(b[0x00:], uint32(l.inodes()))
	le.PutUint32(b[0x04:], uint32(l.blocks))
	le.PutUint32(b[0x0c:], uint32(freeBlocks))
	le.PutUint32(b[0x10:], uint32(freeInodes))
	le.PutUint32(b[0x18:], 2) // blocks of 1024 << 2 bytes
	le.PutUint32(b[0x1c:], 2)
	le.PutUint32(b[0x20:], blocksPerGroup)
	le.PutUint32(b[0x24:], blocksPerGroup)
	le.PutUint32(b[0x28:], uint32(l.inodesPerGroup))
	le.PutUint16(b[0x36:], 0xffff) // no check after so many mounts
	le.PutUint16(b[0x38:], 0xef53)
	le.PutUint16(b[0x3a:], 1) // clean
	le.PutUint16(b[0x3c:], 1) // go on after errors
	le.PutUint32(b[0x4c:], 1) // revision
	le.PutUint32(b[0x54:], firstFreely)
	le.PutUint16(b[0x58:], inodeSize)
	w.putFeatures(b)
	copy(b[0x68:], w.o.UUID[:])
	copy(b[0x78:], w.label[:])
	le.PutUint16(b[0xce:], uint16(l.reserved))
	for i, v := range w.hashSeed {
		le.PutUint32(b[0xec+4*i:], v)
	}
	b[0xfc] = hashHalfMD4
	le.PutUint16(b[0xfe:], descSize)
	le.PutUint32(b[0x100:], defaultMountOptions)
	le.PutUint32(b[0x150:], uint32(l.blocks>>32))
	le.PutUint32(b[0x158:], uint32(freeBlocks>>32))
	le.PutUint16(b[0x15c:], extraSize)
	le.PutUint16(b[0x15e:], extraSize)
	le.PutUint32(b[0x160:], 1) // names are hashed as signed bytes
	b[0x174] = 4               // log2 of groups in a flex_bg
	b[0x175] = 1               // CRC-32C
	le.PutUint32(b[0x248:], uint32(w.overhead()))
	w.putTimes(b)
	w.putJournal(b)
	return b
}

func (w *Writer) putFeatures(b *[superSize]byte) {
	compat := uint32(compatXattr | compatDirIndex)
	ro := uint32(roSparseSuper | roLargeFile | roHugeFile | roDirNlink | roExtraIsize | roMetadataCsum)
	if w.o.Journal {
		compat |= compatJournal
	}
	if w.resizeMap != 0 {
		compat |= compatResizeInode
	}
	if w.o.ReadOnly {
		ro |= roReadOnly
	}
	le.PutUint32(b[0x5c:], compat)
	le.PutUint32(b[0x60:], incompatFiletype|incompatExtents|incompat64bit|incompatFlexBG)
	le.PutUint32(b[0x64:], ro)
}

// putTimes sets when the file system was written, checked and made.
func (w *Writer) putTimes(b *[superSize]byte) {
	sec := uint64(max(w.o.Epoch.Unix(), 0))
	for _, off := range [][2]int{{0x30, 0x274}, {0x40, 0x277}, {0x108, 0x276}} {
		le.PutUint32(b[off[0]:], uint32(sec))
		b[off[1]] = byte(sec >> 32)
	}
}

// putJournal names the journal's inode and keeps a copy of its block map.
func (w *Writer) putJournal(b *[superSize]byte) {
	if !w.o.Journal {
		return
	}
	le.PutUint32(b[0xe0:], journalIno)
	b[0xfd] = 1
	n := w.nodes.get(journalIno)
	im := w.image(journalIno, n)
	copy(b[0x10c:], im.block[:])
	le.PutUint32(b[0x10c+15*4:], uint32(n.size>>32))
	le.PutUint32(b[0x10c+16*4:], uint32(n.size))
}

// overhead returns the number of blocks that can never hold files.
func (w *Writer) overhead() uint64 {
	l := w.layout
	n := l.groups() * (2 + l.tableBlocks())
	for g := range l.groups() {
		n += l.base(g)
	}
	if w.o.Journal {
		n += uint64(w.nodes.get(journalIno).size) / blockSize
	}
	return n
}

// writeSupers writes the superblock and the group descriptors into each group that has a copy. The first superblock
// comes last of all: without it there is no file system.
func (w *Writer) writeSupers(groups []group) error {
	table := make([]byte, w.layout.descBlocks*blockSize)
	for i := range groups {
		encodeGroup(table[i*descSize:], uint32(i), w.seed, &groups[i])
	}
	super := w.superblock(groups)
	for g := w.layout.groups(); g > 0; g-- {
		if err := w.writeCopy(g-1, super, table); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) writeCopy(g uint64, super *[superSize]byte, table []byte) error {
	if !hasSuper(g) {
		return nil
	}
	start := g * blocksPerGroup
	for i := uint64(0); i < w.layout.descBlocks; i++ {
		if err := w.dev.writeBlock(start+1+i, table[i*blockSize:][:blockSize]); err != nil {
			return err
		}
	}
	var b [blockSize]byte
	off := 0
	if g == 0 {
		off = superOffset
	}
	le.PutUint16(super[0x5a:], uint16(g))
	le.PutUint32(super[0x3fc:], crc32c(^uint32(0), super[:0x3fc]))
	copy(b[off:], super[:])
	return w.dev.writeBlock(start, b[:])
}
