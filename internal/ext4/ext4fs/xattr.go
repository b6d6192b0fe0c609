package ext4fs

import (
	"bytes"
	"io"
)

const (
	attrMagic     = 0xea020000
	attrEntrySize = 16
	attrBlockHead = 32

	attrIndexSystem = 7
	inlineName      = "data" // the rest of what is inline in an inode

	maxAttrValue  = 64 << 10 // bytes, as the kernel's XATTR_SIZE_MAX
	maxAttrValues = 1 << 20  // bytes, of one inode
)

// attrPrefixes are the namespaces by their numbers. The ACLs are whole names.
var attrPrefixes = map[byte]string{
	1: "user.", 2: aclAccess, 3: aclDefault, 4: "trusted.", 6: "security.", attrIndexSystem: "system.", 8: "system.richacl",
}

// attr is an extended attribute as it is on disk.
type attr struct {
	index byte
	name  string
	value []byte
}

// xattrs returns the extended attributes of n by their full names.
func (f *FS) xattrs(n *inode) (map[string][]byte, error) {
	var out map[string][]byte
	total := 0
	err := f.attrs(n, func(a attr) error {
		prefix, ok := attrPrefixes[a.index]
		if !ok {
			return damaged("inode %d has an extended attribute of the unknown kind %d", n.ino, a.index)
		}
		if a.index == attrIndexSystem && a.name == inlineName {
			return nil
		}
		if total += len(a.value); total > maxAttrValues {
			return damaged("inode %d has too many extended attributes", n.ino)
		}
		if prefix == aclAccess || prefix == aclDefault {
			value, err := unpackACL(a.value)
			if err != nil {
				return damaged("inode %d: %w", n.ino, err)
			}
			a.value = value
		}
		if _, exists := out[prefix+a.name]; exists {
			return damaged("inode %d has the extended attribute %q twice", n.ino, prefix+a.name)
		}
		if out == nil {
			out = make(map[string][]byte)
		}
		out[prefix+a.name] = a.value
		return nil
	})
	return out, err
}

// attrs calls visit for each attribute in the inode and in its block.
func (f *FS) attrs(n *inode, visit func(attr) error) error {
	if err := f.inodeAttrs(n, visit); err != nil {
		return err
	}
	if n.acl == 0 {
		return nil
	}
	b := make([]byte, f.super.blockSize)
	if err := f.readBlock(n.acl, b); err != nil {
		return err
	}
	if le.Uint32(b) != attrMagic || le.Uint32(b[8:]) != 1 {
		return damaged("inode %d has a damaged block of extended attributes", n.ino)
	}
	if f.super.checksummed() {
		sum := crc32c(f.super.seed, le64(n.acl), b[:0x10], make([]byte, 4), b[0x14:])
		if sum != le.Uint32(b[0x10:]) {
			return damaged("checksum of the extended attributes of inode %d is wrong", n.ino)
		}
	}
	return f.entries(n, b, attrBlockHead, visit)
}

// inodeAttrs reads what is behind the fields of the inode.
func (f *FS) inodeAttrs(n *inode, visit func(attr) error) error {
	b := n.raw[n.extra():]
	if len(b) < 8 || le.Uint32(b) != attrMagic {
		return nil
	}
	return f.entries(n, b[4:], 0, visit)
}

// entries reads the list of attributes at b[head:], which ends with four zero bytes. The values' offsets count from b.
func (f *FS) entries(n *inode, b []byte, head int, visit func(attr) error) error {
	for at := head; ; {
		if at+4 > len(b) {
			return damaged("inode %d has damaged extended attributes", n.ino)
		}
		if le.Uint32(b[at:]) == 0 {
			return nil
		}
		e := b[at:]
		if len(e) < attrEntrySize || len(e) < attrEntrySize+int(e[0]) {
			return damaged("inode %d has damaged extended attributes", n.ino)
		}
		a := attr{index: e[1], name: string(e[attrEntrySize:][:e[0]])}
		if bytes.IndexByte([]byte(a.name), 0) >= 0 {
			return damaged("inode %d has an extended attribute with the name %q", n.ino, a.name)
		}
		value, err := f.attrValue(n, e, b)
		if err != nil {
			return err
		}
		a.value = value
		if err := visit(a); err != nil {
			return err
		}
		at += (attrEntrySize + int(e[0]) + 3) &^ 3
	}
}

// attrValue returns the value of the entry e: from b, or from an inode of its own (ea_inode).
func (f *FS) attrValue(n *inode, e, b []byte) ([]byte, error) {
	off, size := uint64(le.Uint16(e[2:])), uint64(le.Uint32(e[8:]))
	if ino := le.Uint32(e[4:]); ino != 0 {
		return f.valueInode(n, ino, size)
	}
	if size > maxAttrValue || size > 0 && off+size > uint64(len(b)) {
		return nil, damaged("inode %d has damaged extended attributes", n.ino)
	}
	if size == 0 {
		return []byte{}, nil
	}
	return bytes.Clone(b[off : off+size]), nil
}

func (f *FS) valueInode(n *inode, ino uint32, size uint64) ([]byte, error) {
	v, err := f.inode(ino)
	if err != nil {
		return nil, err
	}
	if v.flags&flagEAInode == 0 || v.flags&flagInline != 0 || size > maxAttrValue || uint64(v.size) != size {
		return nil, damaged("inode %d has damaged extended attributes", n.ino)
	}
	r, err := f.content(v)
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	_, err = io.ReadFull(r, b)
	return b, err
}

// inlineRest returns what did not fit into the first 60 bytes of inline content.
func (f *FS) inlineRest(n *inode) ([]byte, error) {
	if f.super.incompat&incompatInlineData == 0 {
		return nil, damaged("inode %d is inline, which the file system does not have", n.ino)
	}
	var rest []byte
	err := f.inodeAttrs(n, func(a attr) error {
		if a.index == attrIndexSystem && a.name == inlineName {
			rest = a.value
		}
		return nil
	})
	return rest, err
}
