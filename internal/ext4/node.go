package ext4

import (
	"slices"
	"time"
)

// The bits of a mode that tell the type.
const (
	modeFIFO     = 0o010000
	modeChar     = 0o020000
	modeDir      = 0o040000
	modeBlock    = 0o060000
	modeRegular  = 0o100000
	modeSymlink  = 0o120000
	modeSocket   = 0o140000
	modeType     = 0o170000
	modePermBits = 0o007777
)

// modeOf and direntOf say how each Type is written in an inode and in a directory.
var (
	modeOf = [...]uint16{
		Regular: modeRegular, Directory: modeDir, Symlink: modeSymlink,
		CharDevice: modeChar, BlockDevice: modeBlock, FIFO: modeFIFO, Socket: modeSocket,
	}
	direntOf = [...]byte{Regular: 1, Directory: 2, CharDevice: 3, BlockDevice: 4, FIFO: 5, Socket: 6, Symlink: 7}
)

// The inodes that every file system has.
const (
	rootIno     = 2
	resizeIno   = 7
	journalIno  = 8
	firstFreely = 11 // below it, inodes have fixed meanings
)

// node is an inode in memory. There may be millions: 72 bytes are enough for a file in one piece.
type node struct {
	when     uint64 // seconds since minTime, times 2^30, plus nanoseconds
	size     int64
	uid, gid uint32
	links    uint16 // names of a file; of a directory see [directory]
	mode     uint16
	kind     Type
	first    [1]extent  // unless more has them; of no blocks: there is none
	attrs    *attrs     // nil: none
	dir      *directory // of a directory
	more     *nodeMore  // what few nodes have; may be nil
}

type nodeMore struct {
	extents []extent // in order, without overlaps
	target  string   // of a symbolic link that fits in the inode
	dev     uint32   // encoded as by the kernel's new_encode_dev
}

// others returns n.more, which it makes if need be.
func (n *node) others() *nodeMore {
	if n.more == nil {
		n.more = new(nodeMore)
	}
	return n.more
}

// extents returns where the content is, valid until n changes.
func (n *node) extents() []extent {
	switch {
	case n.more != nil && n.more.extents != nil:
		return n.more.extents
	case n.first[0].n > 0:
		return n.first[:]
	}
	return nil
}

// setExtents copies list.
func (n *node) setExtents(list []extent) {
	n.first[0] = extent{}
	switch {
	case len(list) > 1:
		n.others().extents = slices.Clone(list)
		return
	case len(list) == 1:
		n.first[0] = list[0]
	}
	if n.more != nil {
		n.more.extents = nil
	}
}

const nanoBits = 30

func (n *node) setTime(t, epoch time.Time) {
	if t.IsZero() {
		t = epoch
	}
	sec, nsec := t.Unix(), uint64(t.Nanosecond())
	if sec < minTime {
		sec, nsec = minTime, 0
	}
	if sec > maxTime {
		sec, nsec = maxTime, 0
	}
	n.when = uint64(sec-minTime)<<nanoBits | nsec
}

// time returns seconds since 1970 and nanoseconds.
func (n *node) time() (sec int64, nsec uint32) {
	return int64(n.when>>nanoBits) + minTime, uint32(n.when & (1<<nanoBits - 1))
}

const nodeChunk = 1024

// nodeTable holds the nodes by inode number. A *node stays valid while the table grows.
type nodeTable struct {
	chunks []*[nodeChunk]node
	last   uint32   // the highest number that was ever in use
	unused []uint32 // numbers below it that are free again
}

func (t *nodeTable) get(ino uint32) *node { return &t.chunks[ino/nodeChunk][ino%nodeChunk] }

// reserve makes the numbers up to ino valid.
func (t *nodeTable) reserve(ino uint32) {
	for uint64(len(t.chunks))*nodeChunk <= uint64(ino) {
		t.chunks = append(t.chunks, new([nodeChunk]node))
	}
	t.last = max(t.last, ino)
}

// next returns the number that put will use.
func (t *nodeTable) next() uint32 {
	if n := len(t.unused); n > 0 {
		return t.unused[n-1]
	}
	return t.last + 1
}

func (t *nodeTable) put(n node) uint32 {
	ino := t.next()
	if len(t.unused) > 0 {
		t.unused = t.unused[:len(t.unused)-1]
	}
	t.reserve(ino)
	*t.get(ino) = n
	return ino
}

func (t *nodeTable) drop(ino uint32) {
	*t.get(ino) = node{}
	t.unused = append(t.unused, ino)
}

// used reports whether ino is in use, by a fixed meaning or by a node.
func (t *nodeTable) used(ino uint32) bool {
	return ino < firstFreely || ino <= t.last && t.get(ino).mode != 0
}
