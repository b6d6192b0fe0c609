package ext4

const (
	refsPerBlock = blockSize / 4
	doubleRef    = 13 // the pointer in an old-style inode to the block of pointers to blocks of pointers
	directRefs   = 12
)

// writeResizeInode makes the inode that owns the room for more group descriptors, in each group that has copies of
// them: Linux needs it to grow a mounted file system. It has the block map of ext2: one block that points to each
// reserved block of the first group, which in turn point to their counterparts in the other groups.
func (w *Writer) writeResizeInode() error {
	l := w.layout
	n := node{mode: modeRegular | 0o600, kind: Regular, links: 1}
	n.setTime(w.o.Epoch, w.o.Epoch)
	n.size = blockSize * (directRefs + refsPerBlock + refsPerBlock*refsPerBlock)
	*w.nodes.get(resizeIno) = n

	r, err := w.alloc.alloc(1)
	if err != nil {
		return err
	}
	w.resizeMap, w.resizeBlocks = r.start, 1
	var top [blockSize]byte
	var others []uint64
	for g := uint64(1); g < l.groups(); g++ {
		if hasSuper(g) {
			others = append(others, g)
		}
	}
	for i := range l.reserved {
		block := 1 + l.descBlocks + i
		le.PutUint32(top[(l.descBlocks+i)%refsPerBlock*4:], uint32(block))
		if err := w.writeReserved(block, others); err != nil {
			return err
		}
		w.resizeBlocks += 1 + uint64(len(others))
	}
	return w.dev.writeBlock(r.start, top[:])
}

// writeReserved writes the list of the counterparts of a reserved block of the first group into it.
func (w *Writer) writeReserved(block uint64, groups []uint64) error {
	if len(groups) == 0 {
		return nil
	}
	var b [blockSize]byte
	for i, g := range groups {
		le.PutUint32(b[4*i:], uint32(block+g*blocksPerGroup))
	}
	return w.dev.writeBlock(block, b[:])
}

func (w *Writer) resizeImage(n *node) *inodeImage {
	im := &inodeImage{node: n, links: 1, blocks: w.resizeBlocks}
	le.PutUint32(im.block[4*doubleRef:], uint32(w.resizeMap))
	return im
}
