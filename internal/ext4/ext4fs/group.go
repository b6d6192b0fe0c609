package ext4fs

const groupInodesUnset = 0x1 // no inode of the group is in use

// table returns the first block of the inode table of group g.
func (f *FS) table(g uint64) (uint64, error) {
	s := &f.super
	perBlock := uint64(s.blockSize) / uint64(s.descSize)
	b, err := f.cached(s.descBlock(g/perBlock, perBlock))
	if err != nil {
		return 0, err
	}
	d := b[g%perBlock*uint64(s.descSize):][:s.descSize]
	if s.checksummed() {
		sum := crc32c(s.seed, le32(uint32(g)), d[:0x1e], []byte{0, 0}, d[0x20:])
		if uint16(sum) != le.Uint16(d[0x1e:]) {
			return 0, damaged("checksum of the descriptor of group %d is wrong", g)
		}
	}
	if s.checksummed() && le.Uint16(d[0x12:])&groupInodesUnset != 0 {
		return 0, damaged("no inode of group %d is in use", g)
	}
	table := uint64(le.Uint32(d[0x08:]))
	if s.incompat&incompat64bit != 0 {
		table |= uint64(le.Uint32(d[0x28:])) << 32
	}
	return table, nil
}

// descBlock returns where block n of the group descriptors is, each of which has as many as perBlock: after the
// superblock, or in the first group that it describes (meta_bg).
func (s *super) descBlock(n, perBlock uint64) uint64 {
	after := uint64(superOffset/s.blockSize) + 1
	if s.incompat&incompatMetaBG == 0 || n < s.firstMetaBG {
		return after + n
	}
	g := n * perBlock
	switch {
	case g == 0:
		return after
	case s.hasSuper(g):
		return s.first + g*s.blocksPerGroup + 1
	}
	return s.first + g*s.blocksPerGroup
}

// hasSuper reports whether group g has a copy of the superblock.
func (s *super) hasSuper(g uint64) bool {
	switch {
	case g == 0:
		return true
	case s.compat&compatSparseSuper2 != 0:
		return g == s.backups[0] || g == s.backups[1]
	case g == 1 || s.ro&roSparseSuper == 0:
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
