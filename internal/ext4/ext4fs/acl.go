package ext4fs

import (
	"errors"
	"fmt"
)

const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"

	aclUser  = 0x02 // the tags of entries that have an id
	aclGroup = 0x08
)

// unpackACL turns an ACL from the form on disk (version 1: entries without an id have 4 bytes) into the form that system
// calls and tar use (version 2: 8 bytes an entry).
func unpackACL(v []byte) ([]byte, error) {
	if len(v) < 4 || le.Uint32(v) != 1 {
		return nil, errors.New("an ACL of an unknown version")
	}
	out := le32(2)
	for e := v[4:]; len(e) > 0; {
		size := 4
		if len(e) >= 4 && (le.Uint16(e) == aclUser || le.Uint16(e) == aclGroup) {
			size = 8
		}
		if len(e) < size {
			return nil, fmt.Errorf("an ACL of %d bytes", len(v))
		}
		out = append(out, e[:size]...)
		if size == 4 {
			out = le.AppendUint32(out, ^uint32(0))
		}
		e = e[size:]
	}
	return out, nil
}
