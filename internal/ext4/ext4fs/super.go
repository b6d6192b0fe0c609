package ext4fs

import (
	"bytes"
	"fmt"
	"io"

	"github.com/banger-dev/banger/internal/errdefs"
)

const (
	superOffset = 1024
	superSize   = 1024
	superMagic  = 0xef53

	compatJournal      = 0x4
	compatSparseSuper2 = 0x200

	incompatFiletype   = 0x2
	incompatRecover    = 0x4
	incompatJournalDev = 0x8
	incompatMetaBG     = 0x10
	incompatExtents    = 0x40
	incompat64bit      = 0x80
	incompatMMP        = 0x100
	incompatFlexBG     = 0x200
	incompatEAInode    = 0x400
	incompatCsumSeed   = 0x2000
	incompatLargeDir   = 0x4000
	incompatInlineData = 0x8000
	incompatEncrypt    = 0x10000
	incompatCasefold   = 0x20000
	incompatKnown      = incompatFiletype | incompatMetaBG | incompatExtents | incompat64bit | incompatMMP | incompatFlexBG |
		incompatEAInode | incompatCsumSeed | incompatLargeDir | incompatInlineData | incompatEncrypt | incompatCasefold

	roSparseSuper  = 0x1
	roMetadataCsum = 0x400
	roReadOnly     = 0x1000

	stateClean  = 1
	stateErrors = 2

	rootIno      = 2
	minFirstIno  = 11
	maxBlockSize = 64 << 10
	maxBlocks    = 1 << 48
	oldInodeSize = 128
	oldDescSize  = 32
)

// super is what is needed of the superblock.
type super struct {
	compat, incompat, ro uint32
	label                string
	uuid                 [16]byte
	blockSize            int64
	blocks               uint64
	first                uint64 // the block that the superblock is in
	inodes               uint32
	firstIno             uint32 // the first inode without a fixed meaning
	inodeSize            int
	descSize             int
	blocksPerGroup       uint64
	inodesPerGroup       uint32
	firstMetaBG          uint64
	backups              [2]uint64 // groups with a copy of the superblock (sparse_super2)
	seed                 uint32    // of checksums
}

func (s *super) valid(block, n uint64) bool {
	return block > s.first && block < s.blocks && n <= s.blocks-block
}

func (s *super) checksummed() bool { return s.ro&roMetadataCsum != 0 }
func (s *super) groups() uint64 {
	return (s.blocks - s.first + s.blocksPerGroup - 1) / s.blocksPerGroup
}

func readSuper(r io.ReaderAt, size int64) (super, error) {
	b := make([]byte, superSize)
	if size < superOffset+superSize {
		return super{}, damaged("%d bytes are not a file system", size)
	}
	if _, err := r.ReadAt(b, superOffset); err != nil {
		return super{}, fmt.Errorf("read superblock: %w", noEOF(err))
	}
	if le.Uint16(b[0x38:]) != superMagic {
		return super{}, damaged("it is not ext2, ext3 or ext4")
	}
	var s super
	for _, step := range []func(b []byte) error{s.readFeatures, s.readChecksum, s.readState, s.readGeometry, s.readInodes} {
		if err := step(b); err != nil {
			return super{}, err
		}
	}
	if uint64(size)/uint64(s.blockSize) < s.blocks {
		return super{}, damaged("the file is truncated: %d bytes of %d", size, s.blocks*uint64(s.blockSize))
	}
	return s, nil
}

func (s *super) readFeatures(b []byte) error {
	copy(s.uuid[:], b[0x68:])
	label, _, _ := bytes.Cut(b[0x78:0x88], []byte{0})
	s.label = string(label)
	if le.Uint32(b[0x4c:]) == 0 { // the original revision had no features
		return nil
	}
	s.compat, s.incompat, s.ro = le.Uint32(b[0x5c:]), le.Uint32(b[0x60:]), le.Uint32(b[0x64:])
	if s.incompat&incompatJournalDev != 0 {
		return damaged("it is a journal, not a file system")
	}
	if unknown := s.incompat &^ (incompatKnown | incompatRecover); unknown != 0 {
		return damaged("it has unknown features (incompat %#x)", unknown)
	}
	return nil
}

func (s *super) readChecksum(b []byte) error {
	s.seed = crc32c(^uint32(0), s.uuid[:])
	if s.incompat&incompatCsumSeed != 0 {
		s.seed = le.Uint32(b[0x270:])
	}
	if s.checksummed() && crc32c(^uint32(0), b[:0x3fc]) != le.Uint32(b[0x3fc:]) {
		return damaged("checksum of the superblock is wrong")
	}
	return nil
}

func (s *super) readState(b []byte) error {
	const repair = "unmount it if it is mounted, then run e2fsck -f on it"
	state := le.Uint16(b[0x3a:])
	switch {
	case s.incompat&incompatRecover != 0:
		return errdefs.WithHint(errdefs.New(errdefs.ErrState, "its journal must be replayed first"), repair)
	case state&stateErrors != 0:
		return errdefs.WithHint(errdefs.New(errdefs.ErrState, "it is marked as having errors"), repair)
	case state&stateClean == 0:
		return errdefs.WithHint(errdefs.New(errdefs.ErrState, "it was not unmounted cleanly"), repair)
	}
	return nil
}

func (s *super) readGeometry(b []byte) error {
	log, logCluster := le.Uint32(b[0x18:]), le.Uint32(b[0x1c:])
	if log > 6 || logCluster < log || logCluster-log > 16 {
		return damaged("blocks of 1024 << %d bytes", log)
	}
	s.blockSize = 1024 << log
	s.blocks = uint64(le.Uint32(b[0x04:]))
	s.descSize = oldDescSize
	if s.incompat&incompat64bit != 0 {
		s.blocks |= uint64(le.Uint32(b[0x150:])) << 32
		s.descSize = int(le.Uint16(b[0xfe:]))
	}
	s.first = uint64(le.Uint32(b[0x14:]))
	s.blocksPerGroup = uint64(le.Uint32(b[0x20:]))
	s.inodesPerGroup = le.Uint32(b[0x28:])
	s.firstMetaBG = uint64(le.Uint32(b[0x104:]))
	s.backups = [2]uint64{uint64(le.Uint32(b[0x24c:])), uint64(le.Uint32(b[0x250:]))}
	most := uint64(8 * s.blockSize) // as many as one block has bits
	switch {
	case s.first > 1 || s.blocks <= s.first || s.blocks > maxBlocks:
		return damaged("%d blocks from block %d on", s.blocks, s.first)
	case s.blocksPerGroup == 0 || s.blocksPerGroup > most<<(logCluster-log):
		return damaged("groups of %d blocks", s.blocksPerGroup)
	case s.inodesPerGroup == 0 || uint64(s.inodesPerGroup) > most:
		return damaged("groups of %d inodes", s.inodesPerGroup)
	case s.descSize < oldDescSize || s.descSize&(s.descSize-1) != 0 || s.descSize > 1024:
		return damaged("group descriptors of %d bytes", s.descSize)
	case s.incompat&incompat64bit != 0 && s.descSize < 64:
		return damaged("group descriptors of %d bytes", s.descSize)
	}
	return nil
}

func (s *super) readInodes(b []byte) error {
	s.inodes, s.inodeSize, s.firstIno = le.Uint32(b), oldInodeSize, minFirstIno
	if le.Uint32(b[0x4c:]) != 0 {
		s.firstIno, s.inodeSize = le.Uint32(b[0x54:]), int(le.Uint16(b[0x58:]))
	}
	size := s.inodeSize
	switch {
	case size < oldInodeSize || size&(size-1) != 0 || int64(size) > s.blockSize:
		return damaged("inodes of %d bytes", size)
	case uint64(s.inodes) != s.groups()*uint64(s.inodesPerGroup):
		return damaged("%d inodes in %d groups of %d", s.inodes, s.groups(), s.inodesPerGroup)
	case s.firstIno < minFirstIno || s.firstIno > s.inodes:
		return damaged("first inode %d", s.firstIno)
	}
	return nil
}
