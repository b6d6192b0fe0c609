// Package ext4test reads file systems in tests: a second opinion, which shares no code with the writer and trusts what
// it reads.
package ext4test

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

var le = binary.LittleEndian

// Volume reads a file system the way its format says, apart from the code that writes it.
type Volume struct {
	f        *os.File
	perGroup uint32
	descs    []byte
	groups   uint32
}

// File is what a volume has at a path.
type File struct {
	Ino     uint32
	Mode    uint16
	UID     uint32
	GID     uint32
	Sec     int64
	Nsec    uint32
	Links   uint16
	Size    int64
	Content string // of a file, or a link's target
	Dev     string
	Xattrs  map[string]string // ACLs as system calls have them
}

// Open reads the superblock and the group descriptors. What cannot be a file system makes it panic, and all else here.
func Open(f *os.File) *Volume {
	v := &Volume{f: f}
	super := v.At(1024, 1024)
	blocks := uint64(le.Uint32(super[4:])) | uint64(le.Uint32(super[0x150:]))<<32
	v.perGroup = le.Uint32(super[0x28:])
	v.groups = uint32((blocks + 32767) / 32768)
	v.descs = v.At(4096, int(v.groups)*64)
	return v
}

// At returns n bytes of the image.
func (v *Volume) At(off int64, n int) []byte {
	b := make([]byte, n)
	if _, err := v.f.ReadAt(b, off); err != nil && err != io.EOF {
		panic(err)
	}
	return b
}

// Inode returns an inode as it is on disk.
func (v *Volume) Inode(ino uint32) []byte {
	d := v.descs[(ino-1)/v.perGroup*64:]
	table := int64(le.Uint32(d[8:])) | int64(le.Uint32(d[0x28:]))<<32
	return v.At(table*4096+int64((ino-1)%v.perGroup)*256, 256)
}

// content returns a file that is mapped by extents.
func (v *Volume) content(inode []byte) []byte {
	size := int(le.Uint32(inode[4:]))
	out := make([]byte, (size+4095)/4096*4096)
	v.extents(inode[0x28:0x28+60], out)
	return out[:size]
}

func (v *Volume) extents(b, out []byte) {
	if le.Uint16(b) != 0xf30a {
		panic("no extent header")
	}
	for i := range int(le.Uint16(b[2:])) {
		e := b[12*(i+1):]
		logical := int(le.Uint32(e))
		if le.Uint16(b[6:]) > 0 {
			block := int64(le.Uint32(e[4:])) | int64(le.Uint16(e[8:]))<<32
			v.extents(v.At(block*4096, 4096), out)
			continue
		}
		block := int64(le.Uint32(e[8:])) | int64(le.Uint16(e[6:]))<<32
		copy(out[logical*4096:], v.At(block*4096, int(le.Uint16(e[4:]))*4096))
	}
}

// Walk returns everything by path, with a slash in front; the root is "".
func (v *Volume) Walk() map[string]File {
	out := make(map[string]File)
	v.visit("", 2, out)
	return out
}

func (v *Volume) visit(path string, ino uint32, out map[string]File) {
	b := v.Inode(ino)
	s := File{
		Ino: ino, Mode: le.Uint16(b), Links: le.Uint16(b[0x1a:]),
		UID: uint32(le.Uint16(b[2:])) | uint32(le.Uint16(b[0x78:]))<<16,
		GID: uint32(le.Uint16(b[0x18:])) | uint32(le.Uint16(b[0x7a:]))<<16,
		Sec: int64(int32(le.Uint32(b[0x10:]))) + int64(le.Uint32(b[0x88:])&3)<<32, Nsec: le.Uint32(b[0x88:]) >> 2,
		Size: int64(le.Uint32(b[4:])) | int64(le.Uint32(b[0x6c:]))<<32,
	}
	s.Xattrs = v.xattrs(b)
	switch s.Mode & 0o170000 {
	case 0o040000:
		for name, child := range v.names(b) {
			v.visit(path+"/"+name, child, out)
		}
		s.Size = 0
	case 0o100000:
		s.Content = string(v.content(b))
	case 0o120000:
		if s.Size < 60 {
			s.Content = string(b[0x28 : 0x28+s.Size])
		} else {
			s.Content = string(v.content(b))
		}
	case 0o020000, 0o060000:
		if d := le.Uint16(b[0x28:]); d != 0 {
			s.Dev = fmt.Sprintf("%d:%d", d>>8, d&0xff)
		} else {
			d := le.Uint32(b[0x2c:])
			s.Dev = fmt.Sprintf("%d:%d", d>>8&0xfff, d&0xff|d>>12&^0xff)
		}
	}
	out[path] = s
}

// names reads every block of a directory as a list of entries; those of an index look empty.
func (v *Volume) names(inode []byte) map[string]uint32 {
	out := make(map[string]uint32)
	b := v.content(inode)
	for len(b) > 0 {
		ino, size, n := le.Uint32(b), le.Uint16(b[4:]), int(b[6])
		if name := string(b[8 : 8+n]); ino != 0 && name != "." && name != ".." {
			out[name] = ino
		}
		b = b[size:]
	}
	return out
}

func (v *Volume) xattrs(inode []byte) map[string]string {
	out := make(map[string]string)
	if le.Uint32(inode[160:]) == 0xea020000 {
		v.attrEntries(inode[164:], inode[164:], out)
	}
	if block := int64(le.Uint32(inode[0x68:])) | int64(le.Uint16(inode[0x76:]))<<32; block != 0 {
		b := v.At(block*4096, 4096)
		v.attrEntries(b[32:], b, out)
	}
	return out
}

func (v *Volume) attrEntries(e, values []byte, out map[string]string) {
	prefix := map[byte]string{
		1: "user.", 2: "system.posix_acl_access", 3: "system.posix_acl_default", 4: "trusted.", 6: "security.",
	}
	for len(e) >= 4 && le.Uint32(e) != 0 {
		n := int(e[0])
		off, size := int(le.Uint16(e[2:])), int(le.Uint32(e[8:]))
		value := values[off : off+size]
		if n == 0 {
			value = unpackACL(value)
		}
		out[prefix[e[1]]+string(e[16:16+n])] = string(value)
		e = e[(16+n+3)/4*4:]
	}
}

// unpackACL gives the entries of the owner, the group, the mask and others an id, as system calls do.
func unpackACL(b []byte) []byte {
	out := le.AppendUint32(nil, 2)
	for b = b[4:]; len(b) > 0; {
		switch le.Uint16(b) {
		case 2, 8:
			out = append(out, b[:8]...)
			b = b[8:]
		default:
			out = append(append(out, b[:4]...), 0xff, 0xff, 0xff, 0xff)
			b = b[4:]
		}
	}
	return out
}
