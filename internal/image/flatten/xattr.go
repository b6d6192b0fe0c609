package flatten

import (
	"archive/tar"
	"encoding/base64"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/banger-dev/banger/internal/ext4"
)

// The names of the PAX records in which the tar programs of this world keep extended attributes.
const (
	schilyXattr     = "SCHILY.xattr."     // all of them: the value as it is
	schilyACL       = "SCHILY.acl."       // GNU tar, star, libarchive: an ACL as text
	libarchiveXattr = "LIBARCHIVE.xattr." // libarchive: the name as in a URL, the value in base64
	rhtSecurity     = "RHT.security."     // GNU tar: labels of SELinux
)

const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// setXattrs gives e the extended attributes of the header that ext4 has a place for and that Linux can read back from
// a file of e's type. It warns of others.
func (m *merge) setXattrs(e *ext4.Entry, h *tar.Header) {
	for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) { // LIBARCHIVE and acl before the equal xattr, which wins
		name, value, ok, err := parseXattr(key, h.PAXRecords[key])
		if !ok {
			continue
		}
		if err == nil {
			err = checkXattr(e.Type, name, value)
		}
		if err != nil {
			m.warnings.add(fmt.Sprintf("left out: %v", err))
			continue
		}
		if e.Xattrs == nil {
			e.Xattrs = make(map[string][]byte)
		}
		e.Xattrs[name] = value
	}
	applyACL(e)
}

// parseXattr returns the attribute that a PAX record has; it is not ok when that is none.
func parseXattr(key, text string) (name string, value []byte, ok bool, err error) {
	if name, ok := strings.CutPrefix(key, schilyXattr); ok {
		return name, []byte(text), true, nil
	}
	if name, ok := strings.CutPrefix(key, libarchiveXattr); ok {
		if name, err = url.PathUnescape(name); err == nil {
			value, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
		}
		if err != nil {
			err = fmt.Errorf("PAX record %q: %w", key, err)
		}
		return name, value, true, err
	}
	switch key {
	case schilyACL + "access":
		name = aclAccess
	case schilyACL + "default":
		name = aclDefault
	default:
		if strings.HasPrefix(key, schilyACL) || strings.HasPrefix(key, rhtSecurity) {
			return "", nil, true, fmt.Errorf("PAX record %q is not supported", key)
		}
		return "", nil, false, nil
	}
	if value, err = parseACL(text); err != nil {
		err = fmt.Errorf("PAX record %q: %w", key, err)
	}
	return name, value, true, err
}

// checkXattr refuses what Linux would list but not read: copying such a file, as an overlay does, would fail.
func checkXattr(kind ext4.Type, name string, value []byte) error {
	if err := ext4.CheckXattr(name, value); err != nil {
		return err
	}
	of := ""
	switch {
	case strings.HasPrefix(name, "user.") && kind != ext4.Regular && kind != ext4.Directory:
		of = "what is neither a file nor a directory"
	case name == aclAccess && kind == ext4.Symlink:
		of = "a symbolic link"
	case name == aclDefault && kind != ext4.Directory:
		of = "what is not a directory"
	}
	if of != "" {
		return fmt.Errorf("extended attribute %q of %s", name, of)
	}
	if name == aclAccess || name == aclDefault {
		if err := decodeACL(value).check(); err != nil {
			return fmt.Errorf("extended attribute %q: %w", name, err)
		}
	}
	return nil
}
