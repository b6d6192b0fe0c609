package blockdev

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The fields of the ext4 superblock that tell the file system's size
// (https://docs.kernel.org/filesystems/ext4/globals.html#super-block).
const (
	superOffset   = 1024
	superSize     = 1024
	blocksLow     = 0x04
	logBlockSize  = 0x18
	magicOffset   = 0x38
	magic         = 0xEF53
	incompat      = 0x60
	incompat64Bit = 0x80
	blocksHigh    = 0x150

	ext4ResizeFS = 0x40086610 // EXT4_IOC_RESIZE_FS, _IOW('f', 16, __u64)
)

var errNotExt4 = errors.New("no ext4 file system")

// Grow makes the ext4 file system of disk dev, which is mounted at dir, as large as the disk. It tells whether it was
// smaller.
func Grow(dev, dir string) (bool, error) {
	have, want, err := sizes(dev)
	if err != nil {
		return false, fmt.Errorf("grow %s: %w", dev, err)
	}
	if have >= want {
		return false, nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return false, fmt.Errorf("grow %s: %w", dev, err)
	}
	defer d.Close()
	//nolint:gosec // the ioctl takes a pointer to the number of blocks
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), ext4ResizeFS, uintptr(unsafe.Pointer(&want)))
	if errno != 0 {
		return false, fmt.Errorf("grow %s from %d to %d blocks: %w", dev, have, want, errno)
	}
	return true, nil
}

// sizes returns how many blocks the file system on dev has and how many dev has room for.
func sizes(dev string) (have, want uint64, err error) {
	f, err := os.Open(dev)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, 0, err
	}
	super := make([]byte, superSize)
	if _, err := f.ReadAt(super, superOffset); err != nil {
		return 0, 0, err
	}
	blocks, blockSize, err := parseSuper(super)
	if err != nil {
		return 0, 0, err
	}
	return blocks, uint64(size) / blockSize, nil
}

func parseSuper(b []byte) (blocks, blockSize uint64, err error) {
	if len(b) < superSize || binary.LittleEndian.Uint16(b[magicOffset:]) != magic {
		return 0, 0, errNotExt4
	}
	log := binary.LittleEndian.Uint32(b[logBlockSize:])
	if log > 6 { // 64 KiB, the largest
		return 0, 0, errNotExt4
	}
	blocks = uint64(binary.LittleEndian.Uint32(b[blocksLow:]))
	if binary.LittleEndian.Uint32(b[incompat:])&incompat64Bit != 0 {
		blocks |= uint64(binary.LittleEndian.Uint32(b[blocksHigh:])) << 32
	}
	return blocks, 1024 << log, nil
}
