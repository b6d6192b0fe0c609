package ext4

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

// packACL turns an ACL from the form that system calls and tar use (version 2: 8 bytes an entry) into the form on disk
// (version 1: entries without an id have 4 bytes).
func packACL(v []byte) ([]byte, error) {
	if len(v) < 4 || (len(v)-4)%8 != 0 {
		return nil, fmt.Errorf("an ACL of %d bytes", len(v))
	}
	if version := le.Uint32(v); version != 2 {
		return nil, fmt.Errorf("ACL version %d is not 2", version)
	}
	out := le.AppendUint32(nil, 1)
	for e := v[4:]; len(e) > 0; e = e[8:] {
		switch le.Uint16(e) {
		case aclUser, aclGroup:
			out = append(out, e[:8]...)
		case 0x01, 0x04, 0x10, 0x20:
			out = append(out, e[:4]...)
		default:
			return nil, errors.New("unknown kind of entry in an ACL")
		}
	}
	return out, nil
}

// unpackACL is the reverse of packACL.
func unpackACL(v []byte) []byte {
	out := le.AppendUint32(nil, 2)
	for e := v[4:]; len(e) >= 4; {
		out = append(out, e[:4]...)
		if tag := le.Uint16(e); tag == aclUser || tag == aclGroup {
			out = append(out, e[4:8]...)
			e = e[8:]
			continue
		}
		out = le.AppendUint32(out, ^uint32(0))
		e = e[4:]
	}
	return out
}
