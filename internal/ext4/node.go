package ext4

import "time"

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

// node is an inode in memory. There may be millions: keep it small.
type node struct {
	sec      int64
	nsec     uint32
	uid, gid uint32
	links    uint32 // names of a file; of a directory see [directory]
	dev      uint32 // encoded as by the kernel's new_encode_dev
	mode     uint16
	kind     Type
	size     int64
	extents  []extent   // in order, without overlaps
	target   string     // of a symbolic link that fits in the inode
	dir      *directory // of a directory
	attrs    *attrs     // nil: none
}

func (n *node) setTime(t, epoch time.Time) {
	if t.IsZero() {
		t = epoch
	}
	n.sec, n.nsec = t.Unix(), uint32(t.Nanosecond())
	if n.sec < minTime {
		n.sec, n.nsec = minTime, 0
	}
	if n.sec > maxTime {
		n.sec, n.nsec = maxTime, 0
	}
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
