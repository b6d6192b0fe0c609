package ext4fs

import (
	"bytes"
	"io"
	"strings"
)

const (
	direntHead = 8
	dirTail    = 12 // a false entry at the end of a block, with its checksum
)

// names calls add for each entry of a directory, in no order. An index is passed over: its blocks look like empty ones,
// and the names are all in the others.
func (f *FS) names(n *inode, add func(name string, ino uint32) error) error {
	if n.flags&flagInline != 0 {
		return f.inlineNames(n, add)
	}
	size := f.super.blockSize
	if n.size == 0 || n.size%size != 0 {
		return damaged("inode %d is a directory of %d bytes", n.ino, n.size)
	}
	b := make([]byte, size)
	next := uint64(0)
	for runs := f.mapper(n); ; {
		r, err := runs.next()
		if err == io.EOF { //nolint:errorlint // mappers return it as it is
			break
		}
		if err != nil {
			return err
		}
		if r.zero || r.logical != next {
			break
		}
		for i := range r.n {
			if int64(next)*size >= n.size {
				return nil
			}
			if err := f.readBlock(r.block+i, b); err != nil {
				return err
			}
			if err := f.blockNames(n, next, b, add); err != nil {
				return err
			}
			next++
		}
	}
	if int64(next)*size < n.size {
		return damaged("inode %d is a directory with a hole", n.ino)
	}
	return nil
}

func (f *FS) blockNames(n *inode, number uint64, b []byte, add func(string, uint32) error) error {
	if f.super.checksummed() && !f.checkDirBlock(n, number, b) {
		return damaged("checksum of the directory inode %d is wrong", n.ino)
	}
	return f.dirents(n, b, add)
}

func (f *FS) checkDirBlock(n *inode, number uint64, b []byte) bool {
	if n.flags&flagIndex != 0 {
		if number == 0 {
			return checkIndex(n.seed, b, 0x20)
		}
		if le.Uint32(b) == 0 && f.recordSize(b) == len(b) {
			return checkIndex(n.seed, b, 0x08)
		}
	}
	tail := b[len(b)-dirTail:]
	isTail := le.Uint32(tail) == 0 && le.Uint16(tail[4:]) == dirTail && le.Uint16(tail[6:]) == 0xde00
	return isTail && crc32c(n.seed, b[:len(b)-dirTail]) == le.Uint32(tail[8:])
}

// checkIndex checks a block of a hash tree whose references begin at head. The checksum is after the last possible one.
func checkIndex(seed uint32, b []byte, head int) bool {
	limit, count := int(le.Uint16(b[head:])), int(le.Uint16(b[head+2:]))
	tail := head + 8*limit
	if count > limit || tail+8 > len(b) {
		return false
	}
	return crc32c(seed, b[:head+8*count], b[tail:tail+4], make([]byte, 4)) == le.Uint32(b[tail+4:])
}

// recordSize returns the size of the entry at b. 65536 does not fit in its 16 bits.
func (f *FS) recordSize(b []byte) int {
	size := int(le.Uint16(b[4:]))
	if f.super.blockSize == maxBlockSize && (size == 0xffff || size == 0) {
		return maxBlockSize
	}
	return size
}

// dirents calls add for the entries in b, which they fill.
func (f *FS) dirents(n *inode, b []byte, add func(string, uint32) error) error {
	for len(b) > 0 {
		if len(b) < direntHead {
			return damaged("inode %d is a damaged directory", n.ino)
		}
		size, length := f.recordSize(b), int(b[6]) // the next byte is the type, or unused
		if size < direntHead || size%4 != 0 || size > len(b) || length > size-direntHead {
			return damaged("inode %d is a damaged directory", n.ino)
		}
		if ino := le.Uint32(b); ino != 0 {
			name := string(b[direntHead : direntHead+length])
			if name == "" || strings.ContainsAny(name, "/\x00") {
				return damaged("inode %d is a directory with the name %q", n.ino, name)
			}
			if name != "." && name != ".." {
				if err := add(name, ino); err != nil {
					return err
				}
			}
		}
		b = b[size:]
	}
	return nil
}

// inlineNames reads a directory that is in its inode: the parent's number, entries, and more entries in an extended
// attribute (inline_data).
func (f *FS) inlineNames(n *inode, add func(string, uint32) error) error {
	rest, err := f.inlineRest(n)
	if err != nil {
		return err
	}
	for _, part := range [][]byte{n.field()[4:], rest} {
		if len(bytes.Trim(part, "\x00")) == 0 {
			continue
		}
		if err := f.dirents(n, part, add); err != nil {
			return err
		}
	}
	return nil
}
