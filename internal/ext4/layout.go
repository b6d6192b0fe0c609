package ext4

import (
	"github.com/banger-dev/banger/internal/errdefs"
)

const (
	blockSize      = 4096
	blocksPerGroup = 8 * blockSize // as many as one block has bits
	descSize       = 64
	descPerBlock   = blockSize / descSize
	groupsPerFlex  = 16
	maxPerGroup    = 8 * blockSize // inodes
	maxBlocks      = 1 << 32
	maxReserved    = 1024 // blocks of group descriptors that the resize inode can hold

	// exactDescBlocks is how much room for group descriptors is left at the start of a file system whose size is
	// not known yet: enough for 512 GiB. What is not needed is free space in the end.
	exactDescBlocks = 64
)

// place says where a group's metadata is.
type place struct{ blockBitmap, inodeBitmap, inodeTable uint64 }

// layout is the plan of a file system.
type layout struct {
	blocks         uint64
	inodesPerGroup uint64
	descBlocks     uint64 // of one copy of the group descriptors
	reserved       uint64 // blocks after each copy, into which it can grow
	places         []place
}

func (l *layout) groups() uint64      { return uint64(len(l.places)) }
func (l *layout) inodes() uint64      { return l.groups() * l.inodesPerGroup }
func (l *layout) tableBlocks() uint64 { return l.inodesPerGroup / inodesPerBlock }

// base returns how many blocks at the start of group g hold the superblock, the group descriptors and the room for
// more of these.
func (l *layout) base(g uint64) uint64 {
	if !hasSuper(g) {
		return 0
	}
	return 1 + l.descBlocks + l.reserved
}

// groupBlocks returns the number of blocks of group g; the last may be short.
func (l *layout) groupBlocks(g uint64) uint64 {
	return min(blocksPerGroup, l.blocks-g*blocksPerGroup)
}

// hasSuper reports whether group g has a copy of the superblock: 0, 1 and the powers of 3, 5 and 7 (sparse_super).
func hasSuper(g uint64) bool {
	if g <= 1 {
		return true
	}
	for _, base := range []uint64{3, 5, 7} {
		n := base
		for n < g {
			n *= base
		}
		if n == g {
			return true
		}
	}
	return false
}

func ceilDiv(a, b uint64) uint64 { return (a + b - 1) / b }

func roundUp(a, to uint64) uint64 { return ceilDiv(a, to) * to }

// planFixed lays out a file system of a given size, as mke2fs does: the metadata of 16 groups is together at the start
// of the first of them.
func planFixed(o Options) (*layout, error) {
	l := &layout{blocks: uint64(o.Size) / blockSize}
	if o.Size < 0 || l.blocks > maxBlocks {
		return nil, errdefs.New(errdefs.ErrInvalid, "size %d of a file system is not between 0 and 16 TiB", o.Size)
	}
	groups := ceilDiv(l.blocks, blocksPerGroup)
	l.descBlocks = ceilDiv(groups, descPerBlock)
	if !o.ReadOnly {
		l.reserved = reservedFor(l.blocks, l.descBlocks)
	}
	if groups > 1 && l.blocks-(groups-1)*blocksPerGroup <= l.base(groups-1) {
		groups-- // the last group has no room for its copies
		l.blocks = groups * blocksPerGroup
	}
	if groups == 0 {
		return nil, tooSmall(o)
	}
	inodes := uint64(o.Inodes)
	if inodes == 0 {
		inodes = max(l.blocks*blockSize/(16<<10), 64)
	}
	l.inodesPerGroup = roundUp(max(ceilDiv(inodes, groups), inodesPerBlock), inodesPerBlock)
	if l.inodesPerGroup > maxPerGroup || l.inodesPerGroup*groups >= 1<<32 {
		return nil, errdefs.New(errdefs.ErrInvalid, "%d inodes are too many for a file system of %d bytes", inodes, o.Size)
	}
	l.places = make([]place, groups)
	return l, nil
}

// reservedFor returns how many blocks to keep for the descriptors of groups that may be added: enough to grow 1024
// times, as mke2fs does, but beyond 1 TiB only 16 times, because each of these blocks is written. Linux can grow the
// file system further without them (meta_bg).
func reservedFor(blocks, descBlocks uint64) uint64 {
	const tebi = 1 << 40 / blockSize
	grown := min(blocks*1024, max(tebi, blocks*16), maxBlocks)
	most := ceilDiv(grown, blocksPerGroup*descPerBlock)
	return min(most-min(most, descBlocks), maxReserved)
}

func tooSmall(o Options) error {
	return errdefs.New(errdefs.ErrInvalid, "a file system does not fit into %d bytes", o.Size)
}

// placeFixed takes the blocks of the bitmaps and inode tables.
func (l *layout) placeFixed(a *allocator) error {
	for first := uint64(0); first < l.groups(); first += groupsPerFlex {
		flex := l.places[first:min(first+groupsPerFlex, l.groups())]
		from := first * blocksPerGroup
		takes := []struct {
			n     uint64
			field func(*place) *uint64
		}{
			{1, func(p *place) *uint64 { return &p.blockBitmap }},
			{1, func(p *place) *uint64 { return &p.inodeBitmap }},
			{l.tableBlocks(), func(p *place) *uint64 { return &p.inodeTable }},
		}
		for _, take := range takes {
			for i := range flex {
				r, err := a.allocRun(from, take.n)
				if err != nil {
					return err
				}
				*take.field(&flex[i]) = r.start
				from = r.start + r.n
			}
		}
	}
	return nil
}

// planExact lays out a file system around what a already holds and takes the blocks of bitmaps and inode tables
// after it.
func planExact(a *allocator, inodes uint64) (*layout, error) {
	l := &layout{descBlocks: exactDescBlocks}
	end := a.end()
	groups := max(ceilDiv(end, blocksPerGroup), ceilDiv(inodes, maxPerGroup))
	for {
		l.places = make([]place, groups)
		l.inodesPerGroup = roundUp(ceilDiv(inodes, groups), inodesPerBlock)
		l.blocks = l.placeAfter(end)
		if need := ceilDiv(l.blocks, blocksPerGroup); need > groups {
			groups = need
			continue
		}
		break
	}
	if l.blocks > a.limit {
		return nil, errdefs.New(errdefs.ErrExhausted, "more than %d bytes in a file system without a size", a.limit*blockSize)
	}
	for _, p := range l.places {
		a.mark(run{p.blockBitmap, 1})
		a.mark(run{p.inodeBitmap, 1})
		a.mark(run{p.inodeTable, l.tableBlocks()})
	}
	l.shrink(a)
	return l, nil
}

// placeAfter puts bitmaps and inode tables after the block end and returns the size that the file system then has.
func (l *layout) placeAfter(end uint64) uint64 {
	next := func(n uint64) uint64 {
		start := end
		for {
			g := start / blocksPerGroup
			if base := g*blocksPerGroup + l.base(g); start < base {
				start = base
			}
			after := (start + n - 1) / blocksPerGroup
			if after == g {
				break
			}
			start = after * blocksPerGroup // in one group, as the allocator would
		}
		end = start + n
		return start
	}
	for i := range l.places {
		l.places[i].blockBitmap = next(1)
	}
	for i := range l.places {
		l.places[i].inodeBitmap = next(1)
	}
	for i := range l.places {
		l.places[i].inodeTable = next(l.tableBlocks())
	}
	last := l.groups() - 1
	return max(end, last*blocksPerGroup+l.base(last)+1)
}

// shrink frees the room for group descriptors that is not needed, now that their number is known.
func (l *layout) shrink(a *allocator) {
	a.limit = l.blocks
	need := ceilDiv(l.groups(), descPerBlock)
	for g := range l.groups() {
		if hasSuper(g) {
			a.free(run{g*blocksPerGroup + 1 + need, l.descBlocks - need})
		}
	}
	l.descBlocks = need
	last := l.groups() - 1
	a.group(last).set(l.groupBlocks(last), blocksPerGroup)
}
