package ext4fs

import "io"

const (
	directBlocks   = 12
	indirectLevels = 3
)

// blockMap reads the map that ext2 and ext3 have: pointers to blocks, to blocks of pointers, and so on.
type blockMap struct {
	*payer
	inode    *inode
	pointers uint64 // in a block
	at, end  uint64 // the next block of the file, and how many it has
	levels   [indirectLevels]pointerBlock
}

// pointerBlock is the block of pointers of one level that was used last.
type pointerBlock struct {
	top  int    // which of the three trees it belongs to
	part uint64 // which part of that tree it maps
	b    []byte // nil: none yet
}

func (m *blockMap) next() (run, error) {
	var r run
	for m.at < m.end {
		block, span, err := m.find(m.at)
		if err != nil {
			return run{}, err
		}
		switch {
		case block == 0 && r.n == 0:
			m.at += span
			continue
		case r.n == 0:
			r = run{logical: m.at, block: block}
		case block != r.block+r.n:
			return r, nil
		}
		if err := m.pay(block, 1); err != nil {
			return run{}, err
		}
		r.n++
		m.at++
	}
	if r.n == 0 {
		return run{}, io.EOF
	}
	return r, nil
}

// find returns where a block of the file is. When it is 0, span blocks from there on are a hole.
func (m *blockMap) find(logical uint64) (block, span uint64, err error) {
	field := m.inode.field()
	if logical < directBlocks {
		return uint64(le.Uint32(field[4*logical:])), 1, nil
	}
	logical -= directBlocks
	span = m.pointers
	for top := range indirectLevels {
		if logical < span {
			return m.descend(top, uint64(le.Uint32(field[4*(directBlocks+top):])), logical, span)
		}
		logical -= span
		span *= m.pointers
	}
	return 0, 0, damaged("inode %d has more bytes than its blocks can hold", m.ino)
}

// descend looks up logical in a tree of top+1 levels of pointers that maps span blocks.
func (m *blockMap) descend(top int, block, logical, span uint64) (uint64, uint64, error) {
	for level := range top + 1 {
		if block == 0 {
			break
		}
		p := &m.levels[level]
		if part := logical / span; p.b == nil || p.top != top || p.part != part {
			b, err := m.load(block)
			if err != nil {
				return 0, 0, err
			}
			*p = pointerBlock{top, part, b}
		}
		span /= m.pointers
		block = uint64(le.Uint32(p.b[4*(logical/span%m.pointers):]))
	}
	return block, span - logical%span, nil
}
