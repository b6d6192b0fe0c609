// Package ext4fs reads ext2, ext3 and ext4 file systems from ordinary files: those that package ext4 writes, and those of
// mke2fs and Linux. Nothing is mounted and no program is run.
//
// The bytes are foreign. Whatever they hold, memory and time are bounded: a block that is claimed more often than the
// file system has blocks, a directory that contains itself and a tree that leads back are refused, with an error of
// class errdefs.ErrInvalid. Checksums are verified where the file system has them (metadata_csum). The format is that
// of the Linux kernel's Documentation/filesystems/ext4.
package ext4fs

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/banger-dev/banger/internal/errdefs"
)

var le = binary.LittleEndian

// FS is an open file system. It is for one goroutine.
type FS struct {
	r     io.ReaderAt
	super super
	cache blockCache
}

// Info says what a file system is.
type Info struct {
	Label     string
	UUID      [16]byte
	BlockSize int64  // bytes
	Size      int64  // bytes that the file system uses of its file, which may have more
	Inodes    uint32 // as many as it can hold
	ReadOnly  bool   // Linux refuses to mount it for writing (the feature read-only)
	Journal   bool
}

// Open reads and checks the superblock of the file system in the first size bytes of r. One that must be repaired or
// whose journal must be replayed first is errdefs.ErrState.
func Open(r io.ReaderAt, size int64) (*FS, error) {
	s, err := readSuper(r, size)
	if err != nil {
		return nil, fmt.Errorf("open file system: %w", err)
	}
	return &FS{r: r, super: s, cache: newBlockCache(s.blockSize)}, nil
}

// Info returns what the superblock says.
func (f *FS) Info() Info {
	s := &f.super
	return Info{
		Label: s.label, UUID: s.uuid, BlockSize: s.blockSize, Size: int64(s.blocks) * s.blockSize, Inodes: s.inodes,
		ReadOnly: s.ro&roReadOnly != 0, Journal: s.compat&compatJournal != 0,
	}
}

func damaged(format string, args ...any) error {
	return errdefs.New(errdefs.ErrInvalid, format, args...)
}

// readBlock reads one block of metadata into p, which has the size of one.
func (f *FS) readBlock(block uint64, p []byte) error {
	if !f.super.valid(block, 1) {
		return damaged("block %d is outside of the file system", block)
	}
	if _, err := f.r.ReadAt(p, int64(block)*f.super.blockSize); err != nil {
		return fmt.Errorf("read block %d: %w", block, noEOF(err))
	}
	return nil
}

// noEOF keeps the end of a file that became shorter from being taken for the end of a stream.
func noEOF(err error) error {
	if err == io.EOF { //nolint:errorlint // io.ReaderAt returns it as it is
		return io.ErrUnexpectedEOF
	}
	return err
}

const cacheSize = 1 << 20

// blockCache keeps blocks of inode tables and group descriptors, each in the one slot that its number leads to.
type blockCache struct {
	numbers []uint64
	blocks  [][]byte
}

func newBlockCache(blockSize int64) blockCache {
	n := cacheSize / blockSize
	return blockCache{make([]uint64, n), make([][]byte, n)}
}

// cached returns a block, which the caller must not change.
func (f *FS) cached(block uint64) ([]byte, error) {
	c := &f.cache
	slot := block % uint64(len(c.blocks))
	if c.blocks[slot] != nil && c.numbers[slot] == block {
		return c.blocks[slot], nil
	}
	b := make([]byte, f.super.blockSize)
	if err := f.readBlock(block, b); err != nil {
		return nil, err
	}
	c.numbers[slot], c.blocks[slot] = block, b
	return b, nil
}
