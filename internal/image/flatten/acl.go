package flatten

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/banger-dev/banger/internal/ext4"
)

// acl is a POSIX access control list (acl(5)).
type acl []aclEntry

type aclEntry struct {
	tag  aclTag
	perm uint16 // 07
	id   uint32 // of a named user or group
}

// aclTag says whom an entry is for. The numbers are those of Linux, and are in the order that it wants.
type aclTag uint16

const (
	aclOwner  aclTag = 0x01
	aclUser   aclTag = 0x02
	aclGroup  aclTag = 0x04 // the file's
	aclGroups aclTag = 0x08 // others
	aclMask   aclTag = 0x10
	aclOther  aclTag = 0x20

	aclVersion = 2 // of the form that system calls use
	aclNoID    = ^uint32(0)
)

// decodeACL reads the form of system calls, which ext4.CheckXattr has looked at.
func decodeACL(v []byte) acl {
	var out acl
	le := binary.LittleEndian
	for e := v[4:]; len(e) >= 8; e = e[8:] {
		out = append(out, aclEntry{aclTag(le.Uint16(e)), le.Uint16(e[2:]), le.Uint32(e[4:])})
	}
	return out
}

func (a acl) encode() []byte {
	le := binary.LittleEndian
	out := le.AppendUint32(nil, aclVersion)
	for _, e := range a {
		out = le.AppendUint16(out, uint16(e.tag))
		out = le.AppendUint16(out, e.perm)
		out = le.AppendUint32(out, e.id)
	}
	return out
}

// check holds the list to what Linux wants of one: entries in order, each of the three classes once, and a mask where
// others are named.
func (a acl) check() error {
	count := make(map[aclTag]int)
	for i, e := range a {
		if i > 0 && e.tag < a[i-1].tag {
			return errors.New("the entries of the ACL are out of order")
		}
		if e.perm > 7 {
			return fmt.Errorf("permission %#o in an ACL", e.perm)
		}
		count[e.tag]++
	}
	named := count[aclUser] + count[aclGroups]
	if count[aclOwner] != 1 || count[aclGroup] != 1 || count[aclOther] != 1 || count[aclMask] > 1 || named > 0 && count[aclMask] == 0 {
		return errors.New("the ACL is not complete")
	}
	return nil
}

// applyACL makes the mode agree with the access ACL, as Linux does when one is set. One that says no more than a mode
// is not kept.
func applyACL(e *ext4.Entry) {
	v, ok := e.Xattrs[aclAccess]
	if !ok {
		return
	}
	list := decodeACL(v)
	perm := make(map[aclTag]uint16)
	for _, entry := range list {
		perm[entry.tag] = entry.perm
	}
	group, masked := perm[aclMask]
	if !masked {
		group = perm[aclGroup]
	}
	e.Mode = e.Mode&^0o777 | perm[aclOwner]<<6 | group<<3 | perm[aclOther]
	if len(list) == 3 {
		delete(e.Xattrs, aclAccess)
	}
	if len(e.Xattrs) == 0 {
		e.Xattrs = nil
	}
}

// parseACL reads the text form: entries of TAG:NAME:PERMISSIONS[:ID], separated by commas or lines.
func parseACL(text string) ([]byte, error) {
	var list acl
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == '\n' }) {
		line, _, _ = strings.Cut(line, "#") // the effective permissions
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		e, err := parseACLEntry(line)
		if err != nil {
			return nil, fmt.Errorf("ACL entry %q: %w", line, err)
		}
		list = append(list, e)
	}
	slices.SortStableFunc(list, func(a, b aclEntry) int { return cmp.Or(cmp.Compare(a.tag, b.tag), cmp.Compare(a.id, b.id)) })
	return list.encode(), nil
}

func parseACLEntry(line string) (aclEntry, error) {
	fields := strings.Split(strings.TrimPrefix(line, "default:"), ":")
	if len(fields) == 2 { // "mask" and "other" without an empty name
		fields = []string{fields[0], "", fields[1]}
	}
	if len(fields) < 3 || len(fields) > 4 {
		return aclEntry{}, errors.New("not three or four fields")
	}
	e := aclEntry{id: aclNoID}
	name := fields[1]
	switch fields[0] {
	case "user", "u":
		e.tag = aclOwner
	case "group", "g":
		e.tag = aclGroup
	case "mask", "m":
		e.tag = aclMask
	case "other", "o":
		e.tag = aclOther
	default:
		return aclEntry{}, errors.New("unknown tag")
	}
	if name != "" {
		if e.tag != aclOwner && e.tag != aclGroup {
			return aclEntry{}, errors.New("a name where none belongs")
		}
		e.tag <<= 1 // a named user or group
		id, err := strconv.ParseUint(fields[len(fields)-1], 10, 32)
		if len(fields) == 3 {
			id, err = strconv.ParseUint(name, 10, 32)
		}
		if err != nil {
			return aclEntry{}, errors.New("a name without a number")
		}
		e.id = uint32(id)
	}
	for _, c := range fields[2] {
		bit := strings.IndexRune("xwr", c)
		if bit < 0 && c != '-' {
			return aclEntry{}, errors.New("unknown permission")
		}
		if bit >= 0 {
			e.perm |= 1 << bit
		}
	}
	return e, nil
}
