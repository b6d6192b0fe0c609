package ext4

const (
	inodeSize      = 256
	inodesPerBlock = blockSize / inodeSize
	extraSize      = 32 // of the fields after the first 128 bytes
	attrsOffset    = 128 + extraSize
	blockField     = 0x28
	blockFieldSize = 60

	flagExtents = 0x80000
	flagIndex   = 0x1000

	minTime = -1 << 31
	maxTime = 1<<34 - 1<<31 - 1

	maxDirLinks  = 65000 // a directory with more links has a count of 1 (dir_nlink)
	maxFileLinks = 65000
)

// inodeImage is what differs between kinds of inodes, ready to be encoded.
type inodeImage struct {
	node   *node
	links  uint32
	flags  uint32
	block  [blockFieldSize]byte
	blocks uint64 // of 4096 bytes, all that belong to the inode
}

// encodeInode writes an inode into b, which is 256 zero bytes.
func encodeInode(b []byte, ino, fsSeed uint32, im *inodeImage) {
	n := im.node
	le.PutUint16(b[0x00:], n.mode)
	le.PutUint16(b[0x02:], uint16(n.uid))
	le.PutUint32(b[0x04:], uint32(n.size))
	le.PutUint16(b[0x18:], uint16(n.gid))
	le.PutUint16(b[0x1a:], uint16(im.links))
	le.PutUint32(b[0x20:], im.flags)
	copy(b[blockField:], im.block[:])
	le.PutUint32(b[0x6c:], uint32(n.size>>32))
	le.PutUint16(b[0x78:], uint16(n.uid>>16))
	le.PutUint16(b[0x7a:], uint16(n.gid>>16))
	le.PutUint16(b[0x80:], extraSize)
	encodeTimes(b, n)
	if n.attrs != nil {
		le.PutUint32(b[0x68:], uint32(n.attrs.block))
		le.PutUint16(b[0x76:], uint16(n.attrs.block>>32))
		copy(b[attrsOffset:], n.attrs.inline)
		if n.attrs.block != 0 {
			im.blocks++
		}
	}
	sectors := im.blocks * (blockSize / 512)
	le.PutUint32(b[0x1c:], uint32(sectors))
	le.PutUint16(b[0x74:], uint16(sectors>>32))
	sum := crc32c(inodeSeed(fsSeed, ino), b[:inodeSize])
	le.PutUint16(b[0x7c:], uint16(sum))
	le.PutUint16(b[0x82:], uint16(sum>>16))
}

// encodeTimes sets all four times to the one that is known. The seconds have 34 bits, two of them next to the
// nanoseconds.
func encodeTimes(b []byte, n *node) {
	sec, nsec := n.time()
	low := uint32(sec)
	epoch := uint32((sec-int64(int32(low)))>>32) & 3
	for _, off := range [][2]int{{0x08, 0x8c}, {0x0c, 0x84}, {0x10, 0x88}, {0x90, 0x94}} {
		le.PutUint32(b[off[0]:], low)
		le.PutUint32(b[off[1]:], nsec<<2|epoch)
	}
}

// image prepares the inode of n for encoding.
func (w *Writer) image(ino uint32, n *node) *inodeImage {
	if ino == resizeIno {
		return w.resizeImage(n)
	}
	im := &inodeImage{node: n, links: uint32(n.links)}
	switch n.kind {
	case Directory:
		im.links = n.dir.links()
		im.flags = flagExtents
		if n.size > blockSize {
			im.flags |= flagIndex
		}
	case Regular:
		im.flags = flagExtents
	case Symlink:
		if len(n.extents()) == 0 {
			copy(im.block[:], n.more.target)
			return im
		}
		im.flags = flagExtents
	case CharDevice, BlockDevice:
		encodeDevice(im.block[:], n.more.dev)
		return im
	case FIFO, Socket:
		return im
	}
	im.blocks = blocksOf(n.extents())
	if tree, ok := w.trees[ino]; ok {
		im.block = tree.root
		im.blocks += tree.blocks
		return im
	}
	encodeExtentRoot(im.block[:], n.extents())
	return im
}

// encodeDevice writes a device number the way the kernel reads it: small ones in 16 bits in the first word, others in
// the second.
func encodeDevice(b []byte, dev uint32) {
	major, minor := splitDevice(dev)
	if major < 256 && minor < 256 {
		le.PutUint32(b, major<<8|minor)
		return
	}
	le.PutUint32(b[4:], dev)
}

func joinDevice(major, minor uint32) uint32 { return minor&0xff | major<<8 | (minor&^0xff)<<12 }

func splitDevice(dev uint32) (major, minor uint32) { return dev >> 8 & 0xfff, dev&0xff | dev>>12&^0xff }
