package ext4fs

import (
	"time"

	"github.com/banger-dev/banger/internal/ext4"
)

const (
	blockField     = 0x28
	blockFieldSize = 60

	flagEncrypt  = 0x800
	flagIndex    = 0x1000
	flagHugeFile = 0x40000 // the count of blocks is not one of sectors
	flagExtents  = 0x80000
	flagEAInode  = 0x200000 // its content is the value of an extended attribute
	flagInline   = 0x10000000

	maxTarget = 4095 // bytes of a symbolic link
)

// inode is a decoded inode.
type inode struct {
	ino    uint32
	raw    []byte
	kind   ext4.Type
	mode   uint16
	links  uint32
	flags  uint32
	size   int64
	blocks uint64 // that belong to it
	acl    uint64 // block of extended attributes; 0: none
	seed   uint32 // of checksums
}

// typeOf maps the upper four bits of a mode.
var typeOf = map[uint16]ext4.Type{
	0o01: ext4.FIFO, 0o02: ext4.CharDevice, 0o04: ext4.Directory, 0o06: ext4.BlockDevice,
	0o10: ext4.Regular, 0o12: ext4.Symlink, 0o14: ext4.Socket,
}

// inode reads an inode that is in use.
func (f *FS) inode(ino uint32) (*inode, error) {
	s := &f.super
	if ino == 0 || ino > s.inodes || (ino < s.firstIno && ino != rootIno) {
		return nil, damaged("inode %d is not one of a file", ino)
	}
	table, err := f.table(uint64(ino-1) / uint64(s.inodesPerGroup))
	if err != nil {
		return nil, err
	}
	at := int64((ino-1)%s.inodesPerGroup) * int64(s.inodeSize)
	block, err := f.cached(table + uint64(at/s.blockSize))
	if err != nil {
		return nil, err
	}
	return s.decodeInode(ino, block[at%s.blockSize:][:s.inodeSize])
}

func (s *super) decodeInode(ino uint32, b []byte) (*inode, error) {
	n := &inode{ino: ino, raw: b, mode: le.Uint16(b), links: uint32(le.Uint16(b[0x1a:])), flags: le.Uint32(b[0x20:])}
	if err := s.checkInode(n); err != nil {
		return nil, err
	}
	kind, known := typeOf[n.mode>>12]
	switch {
	case n.links == 0:
		return nil, damaged("inode %d has a name but is not in use", ino)
	case !known:
		return nil, damaged("inode %d has mode %#o", ino, n.mode)
	case n.flags&flagEncrypt != 0:
		return nil, damaged("inode %d is encrypted", ino)
	}
	n.kind = kind
	size := uint64(le.Uint32(b[4:]))
	if kind == ext4.Regular || kind == ext4.Directory && s.incompat&incompatLargeDir != 0 {
		size |= uint64(le.Uint32(b[0x6c:])) << 32
	}
	if size > uint64(s.blockSize)<<32 {
		return nil, damaged("inode %d has %d bytes", ino, size)
	}
	n.size = int64(size)
	n.acl = uint64(le.Uint32(b[0x68:])) | uint64(le.Uint16(b[0x76:]))<<32
	n.blocks = s.blocksOf(n)
	if n.blocks > s.blocks {
		return nil, damaged("inode %d has %d blocks", ino, n.blocks)
	}
	return n, nil
}

func (s *super) checkInode(n *inode) error {
	b := n.raw
	if extra := n.extra(); extra > len(b) || extra%4 != 0 {
		return damaged("inode %d has %d more bytes", n.ino, extra-oldInodeSize)
	}
	n.seed = crc32c(s.seed, le32(n.ino), b[0x64:0x68])
	if !s.checksummed() {
		return nil
	}
	zero := []byte{0, 0}
	sum := crc32c(n.seed, b[:0x7c], zero, b[0x7e:oldInodeSize])
	want, mask := uint32(le.Uint16(b[0x7c:])), uint32(0xffff)
	switch {
	case n.extra() >= 0x84:
		sum = crc32c(sum, b[oldInodeSize:0x82], zero, b[0x84:])
		want |= uint32(le.Uint16(b[0x82:])) << 16
		mask = ^uint32(0)
	case len(b) > oldInodeSize:
		sum = crc32c(sum, b[oldInodeSize:])
	}
	if sum&mask != want {
		return damaged("checksum of inode %d is wrong", n.ino)
	}
	return nil
}

// extra returns where the fields of the inode end and its extended attributes begin.
func (n *inode) extra() int {
	if len(n.raw) == oldInodeSize {
		return oldInodeSize
	}
	return oldInodeSize + int(le.Uint16(n.raw[oldInodeSize:]))
}

// blocksOf returns how many blocks belong to n, in sectors of 512 bytes or in blocks on disk.
func (s *super) blocksOf(n *inode) uint64 {
	count := uint64(le.Uint32(n.raw[0x1c:])) | uint64(le.Uint16(n.raw[0x74:]))<<32
	if n.flags&flagHugeFile != 0 {
		return count
	}
	perBlock := uint64(s.blockSize / 512)
	return (count + perBlock - 1) / perBlock
}

// own returns how many blocks belong to n alone. One of extended attributes may be shared.
func (n *inode) own() uint64 {
	if n.acl != 0 && n.blocks > 0 {
		return n.blocks - 1
	}
	return n.blocks
}

func (n *inode) field() []byte { return n.raw[blockField:][:blockFieldSize] }

// modTime returns the time of the last change: seconds of 34 bits, two of them next to the nanoseconds.
func (n *inode) modTime() time.Time {
	sec, nsec := int64(int32(le.Uint32(n.raw[0x10:]))), uint32(0)
	if n.extra() >= 0x8c {
		extra := le.Uint32(n.raw[0x88:])
		sec += int64(extra&3) << 32
		nsec = extra >> 2
	}
	return time.Unix(sec, int64(nsec)).UTC()
}

// device decodes a device number: small ones are in 16 bits of the first word, others in the second.
func (n *inode) device() (major, minor uint32) {
	if d := le.Uint32(n.field()); d != 0 {
		return d >> 8 & 0xff, d & 0xff
	}
	d := le.Uint32(n.field()[4:])
	return d >> 8 & 0xfff, d&0xff | d>>12&^0xff
}
