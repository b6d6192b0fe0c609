package ext4fs

import "io"

// run is a part of a file, in blocks.
type run struct {
	logical uint64
	block   uint64 // where it is
	n       uint64
	zero    bool // allocated but never written: reads as zeros
}

// mapper finds the blocks of a file.
type mapper interface {
	// next returns the next run, in order and apart from those before, or io.EOF.
	next() (run, error)
}

// mapper returns the way in which the content of n is mapped. It is not inline.
func (f *FS) mapper(n *inode) mapper {
	p := &payer{fs: f, ino: n.ino, left: n.blocks}
	if n.flags&flagExtents != 0 {
		return &extentMap{payer: p, inode: n}
	}
	end := uint64(n.size+f.super.blockSize-1) / uint64(f.super.blockSize)
	return &blockMap{payer: p, inode: n, end: end, pointers: uint64(f.super.blockSize / 4)}
}

// payer lets the map of a file use as many blocks as the inode says belong to it. The same block mapped again and again
// thus comes to an end.
type payer struct {
	fs   *FS
	ino  uint32
	left uint64
}

func (p *payer) pay(block, n uint64) error {
	if !p.fs.super.valid(block, n) {
		return damaged("inode %d has blocks outside of the file system", p.ino)
	}
	if n > p.left {
		return damaged("inode %d has more blocks than it should", p.ino)
	}
	p.left -= n
	return nil
}

// load reads a block of the map itself.
func (p *payer) load(block uint64) ([]byte, error) {
	if err := p.pay(block, 1); err != nil {
		return nil, err
	}
	b := make([]byte, p.fs.super.blockSize)
	return b, p.fs.readBlock(block, b)
}

const (
	extentMagic    = 0xf30a
	extentSize     = 12
	maxExtent      = 32768 // blocks; a larger number is of blocks never written
	maxExtentDepth = 5
)

// extentMap reads a tree of extents.
type extentMap struct {
	*payer
	inode *inode
	stack []extentNode
	begun bool
	floor uint64 // what is below was returned already
}

// extentNode is a node of the tree and how far it was read.
type extentNode struct {
	entries []byte
	depth   uint16
	end     uint64 // what it maps is below
}

func (m *extentMap) next() (run, error) {
	if !m.begun {
		m.begun = true
		if err := m.push(m.inode.field(), 1<<32, nil); err != nil {
			return run{}, err
		}
	}
	for len(m.stack) > 0 {
		top := &m.stack[len(m.stack)-1]
		if len(top.entries) == 0 {
			m.stack = m.stack[:len(m.stack)-1]
			continue
		}
		e := top.entries[:extentSize]
		top.entries = top.entries[extentSize:]
		if top.depth == 0 {
			return m.leaf(e, top.end)
		}
		if err := m.descend(e, top); err != nil {
			return run{}, err
		}
	}
	return run{}, io.EOF
}

func (m *extentMap) leaf(e []byte, end uint64) (run, error) {
	r := run{
		logical: uint64(le.Uint32(e)), n: uint64(le.Uint16(e[4:])),
		block: uint64(le.Uint32(e[8:])) | uint64(le.Uint16(e[6:]))<<32,
	}
	if r.n > maxExtent {
		r.n -= maxExtent
		r.zero = true
	}
	if r.n == 0 || r.logical < m.floor || r.logical+r.n > end {
		return run{}, damaged("inode %d has extents that overlap", m.ino)
	}
	m.floor = r.logical + r.n
	return r, m.pay(r.block, r.n)
}

// descend goes to the child that e points to. Its extents end where those of the next entry begin.
func (m *extentMap) descend(e []byte, from *extentNode) error {
	logical, end := uint64(le.Uint32(e)), from.end
	if len(from.entries) > 0 {
		end = uint64(le.Uint32(from.entries))
	}
	if logical < m.floor || logical >= end || end > from.end {
		return damaged("inode %d has extents that overlap", m.ino)
	}
	m.floor = logical
	block := uint64(le.Uint32(e[4:])) | uint64(le.Uint16(e[8:]))<<32
	b, err := m.load(block)
	if err != nil {
		return err
	}
	return m.push(b, end, from)
}

func (m *extentMap) push(b []byte, end uint64, parent *extentNode) error {
	entries, most, depth := int(le.Uint16(b[2:])), int(le.Uint16(b[4:])), le.Uint16(b[6:])
	switch {
	case le.Uint16(b) != extentMagic || most > len(b)/extentSize-1 || entries > most:
		return damaged("inode %d has no tree of extents", m.ino)
	case parent == nil && depth > maxExtentDepth, parent != nil && (depth+1 != parent.depth || entries == 0):
		return damaged("inode %d has a damaged tree of extents", m.ino)
	}
	if parent != nil && m.fs.super.checksummed() {
		tail := extentSize * (1 + most)
		if tail+4 > len(b) || crc32c(m.inode.seed, b[:tail]) != le.Uint32(b[tail:]) {
			return damaged("checksum of the extents of inode %d is wrong", m.ino)
		}
	}
	m.stack = append(m.stack, extentNode{b[extentSize : extentSize*(1+entries)], depth, end})
	return nil
}
