package ext4

import (
	"math/bits"

	"github.com/banger-dev/banger/internal/errdefs"
)

// bitmap has one bit for each block of a group, set when the block is in use. It is laid out as on disk.
type bitmap [blockSize]byte

func (b *bitmap) get(i uint64) bool { return b[i/8]&(1<<(i%8)) != 0 }

func (b *bitmap) set(from, to uint64) {
	for ; from < to && from%8 != 0; from++ {
		b[from/8] |= 1 << (from % 8)
	}
	for ; from+8 <= to; from += 8 {
		b[from/8] = 0xff
	}
	for ; from < to; from++ {
		b[from/8] |= 1 << (from % 8)
	}
}

func (b *bitmap) clear(from, to uint64) {
	for i := from; i < to; i++ {
		b[i/8] &^= 1 << (i % 8)
	}
}

func (b *bitmap) used() uint32 {
	n := 0
	for i := 0; i < len(b); i += 8 {
		n += bits.OnesCount64(le.Uint64(b[i:]))
	}
	return uint32(n)
}

// nextClear returns the first clear bit at or after i, or blocksPerGroup.
func (b *bitmap) nextClear(i uint64) uint64 {
	for i < blocksPerGroup {
		word := ^le.Uint64(b[i/64*8:]) >> (i % 64)
		if word != 0 {
			return i + uint64(bits.TrailingZeros64(word))
		}
		i = (i/64 + 1) * 64
	}
	return blocksPerGroup
}

// nextSet returns the first set bit at or after i, or limit when that comes first.
func (b *bitmap) nextSet(i, limit uint64) uint64 {
	for i < limit {
		word := le.Uint64(b[i/64*8:]) >> (i % 64)
		if word != 0 {
			return min(i+uint64(bits.TrailingZeros64(word)), limit)
		}
		i = (i/64 + 1) * 64
	}
	return limit
}

// run is some blocks in a row.
type run struct {
	start uint64
	n     uint64
}

// allocator hands out blocks, the lowest free ones first. A group has a bitmap from the moment that something other
// than its own copy of the superblock and the group descriptors is in it.
type allocator struct {
	limit  uint64              // blocks of the file system; those of an exact one are bound only by its descriptors
	base   func(uint64) uint64 // blocks at the start of a group that hold the superblock and group descriptors
	groups []*bitmap           // nil: only base blocks are in use; may be shorter than the file system has groups
	hint   uint64              // no block below it is free
}

func (a *allocator) group(g uint64) *bitmap {
	for uint64(len(a.groups)) <= g {
		a.groups = append(a.groups, nil)
	}
	if a.groups[g] == nil {
		b := new(bitmap)
		b.set(0, a.base(g))
		if start := g * blocksPerGroup; start+blocksPerGroup > a.limit {
			b.set(a.limit-start, blocksPerGroup)
		}
		a.groups[g] = b
	}
	return a.groups[g]
}

// alloc takes the first free blocks: at least one, at most want, all in one group.
func (a *allocator) alloc(want uint64) (run, error) {
	r, ok := a.find(a.hint, want)
	if !ok {
		return run{}, errdefs.New(errdefs.ErrExhausted, "no free block in a file system of %d bytes", a.limit*blockSize)
	}
	a.mark(r)
	a.hint = r.start + r.n
	return r, nil
}

// allocRun takes want blocks in a row, the first such at or after from.
func (a *allocator) allocRun(from, want uint64) (run, error) {
	for {
		r, ok := a.find(from, want)
		if !ok {
			return run{}, errdefs.New(errdefs.ErrExhausted, "no %d free blocks in a row in a file system of %d bytes",
				want, a.limit*blockSize)
		}
		if r.n == want {
			a.mark(r)
			return r, nil
		}
		from = r.start + r.n
	}
}

func (a *allocator) find(from, want uint64) (run, bool) {
	for from < a.limit {
		g, i := from/blocksPerGroup, from%blocksPerGroup
		b := a.group(g)
		if i = b.nextClear(i); i < blocksPerGroup {
			return run{start: g*blocksPerGroup + i, n: b.nextSet(i, min(i+want, blocksPerGroup)) - i}, true
		}
		from = (g + 1) * blocksPerGroup
	}
	return run{}, false
}

// mark takes r, which may reach over several groups.
func (a *allocator) mark(r run) {
	for r.n > 0 {
		g, i := r.start/blocksPerGroup, r.start%blocksPerGroup
		n := min(r.n, blocksPerGroup-i)
		a.group(g).set(i, i+n)
		r = run{start: r.start + n, n: r.n - n}
	}
}

func (a *allocator) free(r run) {
	a.hint = min(a.hint, r.start)
	for r.n > 0 {
		g, i := r.start/blocksPerGroup, r.start%blocksPerGroup
		n := min(r.n, blocksPerGroup-i)
		a.group(g).clear(i, i+n)
		r = run{start: r.start + n, n: r.n - n}
	}
}

// end returns the number of the block after the last one in use.
func (a *allocator) end() uint64 {
	for g := len(a.groups) - 1; g >= 0; g-- {
		b := a.groups[g]
		if b == nil {
			continue
		}
		base := a.base(uint64(g))
		for i := uint64(blocksPerGroup); i > base; i-- {
			if b.get(i - 1) {
				return uint64(g)*blocksPerGroup + i
			}
		}
	}
	return a.base(0)
}
