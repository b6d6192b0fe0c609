package ext4

import "encoding/binary"

const (
	journalMagic   = 0xc03b3998
	journalMinimum = 1024 // blocks; Linux refuses smaller ones
	journalMaximum = 16384
)

// journalBlocks returns the size of the journal: as mke2fs chooses it, but at most 64 MiB, because every block of it
// is written sooner or later and is then no longer a hole in the host's file.
func journalBlocks(blocks uint64) uint64 {
	switch {
	case blocks < 32768:
		return journalMinimum
	case blocks < 256<<10:
		return 4096
	case blocks < 512<<10:
		return 8192
	}
	return journalMaximum
}

// writeJournal makes an empty journal, which is its superblock and nothing else.
func (w *Writer) writeJournal(blocks uint64) error {
	n := node{mode: modeRegular | 0o600, kind: Regular, links: 1, size: int64(blocks) * blockSize}
	n.setTime(w.o.Epoch, w.o.Epoch)
	var list []extent
	for logical := uint64(0); logical < blocks; {
		r, err := w.alloc.alloc(blocks - logical)
		if err != nil {
			return err
		}
		list = appendExtent(list, uint32(logical), r)
		logical += r.n
	}
	n.setExtents(list)
	*w.nodes.get(journalIno) = n
	var b [blockSize]byte
	be := binary.BigEndian
	be.PutUint32(b[0x00:], journalMagic)
	be.PutUint32(b[0x04:], 4) // a superblock, version 2
	be.PutUint32(b[0x0c:], blockSize)
	be.PutUint32(b[0x10:], uint32(blocks))
	be.PutUint32(b[0x14:], 1) // first block of the log
	be.PutUint32(b[0x18:], 1) // first transaction
	be.PutUint32(b[0x40:], 1) // file systems that use it
	return w.dev.writeBlock(list[0].start, b[:])
}
