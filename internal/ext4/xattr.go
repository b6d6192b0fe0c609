package ext4

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
)

const (
	attrMagic      = 0xea020000
	attrEntrySize  = 16 // without the name
	attrBlockHead  = 32
	attrInlineHead = 4
	attrInlineSize = inodeSize - attrsOffset
)

// attrPrefixes are the namespaces that ext4 stores, each with its number on disk. The ACLs are whole names.
var attrPrefixes = []struct {
	index  byte
	prefix string
}{
	{1, "user."},
	{2, aclAccess},
	{3, aclDefault},
	{4, "trusted."},
	{6, "security."},
}

// attr is an extended attribute in ext4's own terms.
type attr struct {
	index byte
	name  string // without the prefix
	value []byte
}

func (a attr) entrySize() int { return (attrEntrySize + len(a.name) + 3) &^ 3 }
func (a attr) valueSize() int { return (len(a.value) + 3) &^ 3 }

// CheckXattr reports why an extended attribute cannot be stored. The error is of class ErrInvalid.
func CheckXattr(name string, value []byte) error {
	_, err := newAttr(name, value)
	return err
}

func newAttr(name string, value []byte) (attr, error) {
	for _, p := range attrPrefixes {
		rest, ok := strings.CutPrefix(name, p.prefix)
		if !ok {
			continue
		}
		isACL := p.prefix == aclAccess || p.prefix == aclDefault
		if isACL != (rest == "") || len(rest) > 255 || strings.Contains(rest, "\x00") {
			continue
		}
		if isACL {
			packed, err := packACL(value)
			if err != nil {
				return attr{}, errdefs.New(errdefs.ErrInvalid, "extended attribute %q: %w", name, err)
			}
			value = packed
		}
		return attr{p.index, rest, value}, nil
	}
	return attr{}, errdefs.New(errdefs.ErrInvalid, "extended attribute %q: ext4 has no place for this name", name)
}

// newAttrs returns the attributes in the order that ext4 wants.
func newAttrs(m map[string][]byte) ([]attr, error) {
	list := make([]attr, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		a, err := newAttr(name, m[name])
		if err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b attr) int {
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(len(a.name), len(b.name)), strings.Compare(a.name, b.name))
	})
	return list, nil
}

// splitAttrs divides list into what fits in the inode and what goes to a block.
func splitAttrs(list []attr) (inline, block []attr, err error) {
	room := attrInlineSize - attrInlineHead - 4 // four zero bytes end the entries
	blockRoom := blockSize - attrBlockHead - 4
	for _, a := range list {
		if need := a.entrySize() + a.valueSize(); need <= room {
			room -= need
			inline = append(inline, a)
		} else {
			blockRoom -= need
			block = append(block, a)
		}
	}
	if blockRoom < 0 {
		return nil, nil, errdefs.New(errdefs.ErrInvalid, "extended attributes are %d bytes too large for ext4", -blockRoom)
	}
	return inline, block, nil
}

// encodeAttrs writes entries from b[head:] on and values from the end of b. Offsets count from b[zero:].
func encodeAttrs(b []byte, list []attr, head, zero int) {
	at, end := head, len(b)
	for _, a := range list {
		e := b[at:]
		e[0] = byte(len(a.name))
		e[1] = a.index
		if len(a.value) > 0 {
			end -= a.valueSize()
			copy(b[end:], a.value)
			le.PutUint16(e[2:], uint16(end-zero))
		}
		le.PutUint32(e[8:], uint32(len(a.value)))
		le.PutUint32(e[12:], a.hash())
		copy(e[attrEntrySize:], a.name)
		at += a.entrySize()
	}
}

// hash is ext4_xattr_hash_entry of the kernel.
func (a attr) hash() uint32 {
	h := uint32(0)
	for _, c := range []byte(a.name) {
		h = h<<5 ^ h>>27 ^ uint32(c)
	}
	padded := append(bytes.Clone(a.value), 0, 0, 0)
	for i := 0; i < len(a.value); i += 4 {
		h = h<<16 ^ h>>16 ^ le.Uint32(padded[i:])
	}
	return h
}

func encodeInlineAttrs(list []attr) string {
	if len(list) == 0 {
		return ""
	}
	b := make([]byte, attrInlineSize)
	le.PutUint32(b, attrMagic)
	encodeAttrs(b, list, attrInlineHead, attrInlineHead)
	return string(b)
}

func encodeAttrBlock(list []attr) []byte {
	b := make([]byte, blockSize)
	le.PutUint32(b[0:], attrMagic)
	le.PutUint32(b[8:], 1) // blocks
	h := uint32(0)
	for _, a := range list {
		h = h<<16 ^ h>>16 ^ a.hash()
	}
	le.PutUint32(b[12:], h)
	encodeAttrs(b, list, attrBlockHead, 0)
	return b
}

// sealAttrBlock sets what depends on how many inodes use the block and where it is.
func sealAttrBlock(b []byte, refs uint32, fsSeed uint32, block uint64) {
	le.PutUint32(b[4:], refs)
	le.PutUint32(b[16:], 0)
	le.PutUint32(b[16:], crc32c(crc32cUint64(fsSeed, block), b))
}

// decodeAttrs adds what encodeAttrs wrote to m.
func decodeAttrs(m map[string][]byte, b []byte, head, zero int) {
	for at := head; at+attrEntrySize <= len(b) && le.Uint32(b[at:]) != 0; {
		e := b[at:]
		a := attr{index: e[1], name: string(e[attrEntrySize : attrEntrySize+int(e[0])])}
		off := zero + int(le.Uint16(e[2:]))
		a.value = bytes.Clone(b[off : off+int(le.Uint32(e[8:]))])
		for _, p := range attrPrefixes {
			if p.index != a.index {
				continue
			}
			if a.name == "" {
				a.value = unpackACL(a.value)
			}
			m[p.prefix+a.name] = a.value
		}
		at += a.entrySize()
	}
}
