package ext4

import (
	"cmp"
	"slices"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
)

const (
	hashHalfMD4   = 1
	treeRootHead  = 32 // "." and ".." and the description of the tree
	treeNodeHead  = 8  // a false entry that owns the block
	treeRootLimit = (blockSize-treeRootHead)/8 - 1
	treeNodeLimit = (blockSize-treeNodeHead)/8 - 1
)

type hashed struct {
	dirent
	major, minor uint32
}

// treeRef is an entry of an index block: names of this hash and above are in the block.
type treeRef struct{ hash, block uint32 }

// hashTree is a directory with an index. Block 0 is the root, then come the leaves, then the index blocks between
// them, if there are too many leaves for the root.
type hashTree struct {
	dots   []dirent
	leaves [][]dirent
	root   []treeRef
	nodes  [][]treeRef
	seed   uint32
	buf    [blockSize]byte
}

// newHashTree returns nil when there are more names than two levels of index can hold.
func newHashTree(dots, entries []dirent, hashSeed [4]uint32, seed uint32) *hashTree {
	t := &hashTree{dots: dots, seed: seed}
	refs := t.fill(hashNames(entries, hashSeed))
	if len(refs) <= treeRootLimit {
		t.root = refs
		return t
	}
	for len(refs) > 0 {
		n := min(len(refs), treeNodeLimit)
		t.root = append(t.root, treeRef{refs[0].hash, uint32(1 + len(t.leaves) + len(t.nodes))})
		t.nodes = append(t.nodes, refs[:n])
		refs = refs[n:]
	}
	if len(t.root) > treeRootLimit {
		return nil
	}
	return t
}

func hashNames(entries []dirent, seed [4]uint32) []hashed {
	list := make([]hashed, len(entries))
	for i, e := range entries {
		major, minor := halfMD4(e.name, seed)
		list[i] = hashed{e, major, minor}
	}
	slices.SortFunc(list, func(a, b hashed) int {
		return cmp.Or(cmp.Compare(a.major, b.major), cmp.Compare(a.minor, b.minor), strings.Compare(a.name, b.name))
	})
	return list
}

// fill makes the leaves and returns a reference to each. When names of one hash go on in a leaf, the lowest bit of its
// reference says so.
func (t *hashTree) fill(list []hashed) []treeRef {
	var refs []treeRef
	room := 0
	for i, h := range list {
		size := direntSize(h.name)
		if size > room {
			hash := h.major
			switch {
			case i == 0:
				hash = 0
			case list[i-1].major == hash:
				hash |= 1
			}
			t.leaves = append(t.leaves, nil)
			refs = append(refs, treeRef{hash, uint32(len(t.leaves))})
			room = dirRoom
		}
		last := len(t.leaves) - 1
		t.leaves[last] = append(t.leaves[last], h.dirent)
		room -= size
	}
	return refs
}

func (t *hashTree) blocks() uint32 { return uint32(1 + len(t.leaves) + len(t.nodes)) }

// encode returns block number i, valid until the next call.
func (t *hashTree) encode(i uint32) []byte {
	clear(t.buf[:])
	leaves := uint32(len(t.leaves))
	switch {
	case i == 0:
		t.encodeRoot()
	case i <= leaves:
		encodeDirBlock(t.buf[:], t.leaves[i-1], t.seed)
	default:
		le.PutUint16(t.buf[4:], blockSize)
		t.encodeRefs(t.nodes[i-1-leaves], treeNodeHead, treeNodeLimit)
	}
	return t.buf[:]
}

func (t *hashTree) encodeRoot() {
	b := t.buf[:]
	encodeDirent(b, t.dots[0], 12)
	encodeDirent(b[12:], t.dots[1], blockSize-12)
	b[28] = hashHalfMD4
	b[29] = 8 // length of this description
	if len(t.nodes) > 0 {
		b[30] = 1 // levels below the root that are not leaves
	}
	t.encodeRefs(t.root, treeRootHead, treeRootLimit)
}

// encodeRefs writes limit, count and references at b[head:], and the checksum after the last possible one. The first
// reference has no hash: limit and count are in its place.
func (t *hashTree) encodeRefs(refs []treeRef, head, limit int) {
	b := t.buf[:]
	for i, r := range refs {
		p := b[head+8*i:]
		le.PutUint32(p[0:], r.hash)
		le.PutUint32(p[4:], r.block)
	}
	le.PutUint16(b[head:], uint16(limit))
	le.PutUint16(b[head+2:], uint16(len(refs)))
	sum := crc32c(t.seed, b[:head+8*len(refs)])
	sum = crc32c(sum, make([]byte, 8)) // the tail itself
	le.PutUint32(b[head+8*limit+4:], sum)
}

func tooManyNames(n int) error {
	return errdefs.New(errdefs.ErrInvalid, "a directory of %d names is too large for ext4", n)
}
