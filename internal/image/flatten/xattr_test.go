package flatten

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestXattrForms(t *testing.T) {
	const text = "user::rwx,user:1000:r--,group::r-x,mask::rwx,other::---"
	for name, test := range map[string]struct {
		flag     byte
		records  map[string]string
		want     map[string]string
		mode     uint16 // of 0777
		warnings int
	}{
		"as it is": {'0', map[string]string{"SCHILY.xattr.user.a": "v"}, map[string]string{"user.a": "v"}, 0o644, 0},
		"empty, as GNU tar writes it and containerd reads it": {'0', map[string]string{"SCHILY.xattr.user.a": ""}, map[string]string{"user.a": ""}, 0o644, 0},
		"libarchive":                {'0', map[string]string{"LIBARCHIVE.xattr.user.%C3%A9": "dgB3"}, map[string]string{"user.\xc3\xa9": "v\x00w"}, 0o644, 0},
		"libarchive, unpadded":      {'0', map[string]string{"LIBARCHIVE.xattr.user.a": "dg"}, map[string]string{"user.a": "v"}, 0o644, 0},
		"libarchive, padded":        {'0', map[string]string{"LIBARCHIVE.xattr.user.a": "dg=="}, map[string]string{"user.a": "v"}, 0o644, 0},
		"libarchive, broken":        {'0', map[string]string{"LIBARCHIVE.xattr.user.a": "!"}, nil, 0o644, 1},
		"both":                      {'0', map[string]string{"LIBARCHIVE.xattr.user.a": "dg", "SCHILY.xattr.user.a": "w"}, map[string]string{"user.a": "w"}, 0o644, 0},
		"an ACL as text":            {'0', map[string]string{"SCHILY.acl.access": text}, map[string]string{aclAccess: testACL}, 0o770, 0},
		"an ACL in lines":           {'0', map[string]string{"SCHILY.acl.access": "# file\nuser::rwx\nuser:1000:r--\t#effective:r--\ngroup::r-x\nmask::rwx\nother::---\n"}, map[string]string{aclAccess: testACL}, 0o770, 0},
		"an ACL with names and ids": {'0', map[string]string{"SCHILY.acl.access": "other::---,mask::rwx,g::r-x,user:me:r--:1000,u::rwx"}, map[string]string{aclAccess: testACL}, 0o770, 0},
		"an ACL with names only":    {'0', map[string]string{"SCHILY.acl.access": strings.Replace(text, "1000", "me", 1)}, nil, 0o644, 1},
		"a default ACL":             {'5', map[string]string{"SCHILY.acl.default": text}, map[string]string{aclDefault: testACL}, 0o644, 0},
		"a default ACL of a file":   {'0', map[string]string{"SCHILY.acl.default": text}, nil, 0o644, 1},
		"an ACL that is a mode":     {'0', map[string]string{"SCHILY.acl.access": "user::rwx,group::r-x,other::--x"}, nil, 0o751, 0},
		"an ACL without a mask":     {'0', map[string]string{"SCHILY.acl.access": strings.Replace(text, "mask::rwx,", "", 1)}, nil, 0o644, 1},
		"an ACL twice":              {'0', map[string]string{"SCHILY.acl.access": "user::---,group::---,other::---", "SCHILY.xattr." + aclAccess: testACL}, map[string]string{aclAccess: testACL}, 0o770, 0},
		"ACLs of nonsense":          {'0', map[string]string{"SCHILY.acl.access": "nobody", "SCHILY.acl.default": "user::rwz", "SCHILY.acl.ace": text, "RHT.security.selinux": "x"}, nil, 0o644, 4},
		"an empty ACL":              {'0', map[string]string{"SCHILY.xattr." + aclAccess: "\x02\x00\x00\x00"}, nil, 0o644, 1},
		"an ACL out of order":       {'0', map[string]string{"SCHILY.xattr." + aclAccess: testACL[:4] + testACL[12:20] + testACL[4:12] + testACL[20:]}, nil, 0o644, 1},
		"of a link":                 {'2', map[string]string{"SCHILY.xattr.user.a": "v", "SCHILY.xattr.trusted.t": "t", "SCHILY.xattr." + aclAccess: testACL}, map[string]string{"trusted.t": "t"}, 0o777, 2},
		"of a pipe":                 {'6', map[string]string{"SCHILY.xattr.user.a": "v", "SCHILY.xattr." + aclAccess: testACL}, map[string]string{aclAccess: testACL}, 0o770, 1},
		"something else":            {'0', map[string]string{"VENDOR.x": "v"}, nil, 0o644, 0},
	} {
		t.Run(name, func(t *testing.T) {
			i := item{Header: tar.Header{Name: "x", Typeflag: test.flag, Mode: 0o644, ModTime: epoch, PAXRecords: test.records}}
			if test.flag == tar.TypeSymlink {
				i.Linkname = "y"
			}
			m, err := flat(t, bytes.NewReader(archive(t, i)))
			if err != nil {
				t.Fatal(err)
			}
			e, err := m.tree.rootfs.Stat("x")
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]string
			for name, value := range e.Xattrs {
				if got == nil {
					got = make(map[string]string)
				}
				got[name] = string(value)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if e.Mode != test.mode {
				t.Errorf("mode %#o, want %#o", e.Mode, test.mode)
			}
			if got := m.warnings.list(); len(got) != test.warnings {
				t.Errorf("warnings %q, want %d", got, test.warnings)
			}
		})
	}
}
