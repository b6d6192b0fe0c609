package flatten

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/banger-dev/banger/internal/errdefs"
)

// FuzzTar feeds archives that may be damaged. Whatever they hold, the answer is a class of error or two correct file
// systems.
func FuzzTar(f *testing.F) {
	f.Add(archive(f, dir("root"), file("root/a", "a"), link("b", "root/a"), symlink("c", "root"), file("c/d", "d")))
	f.Add(archive(f, file("a", "a"), dir("a"), file("a/../b", "b"), link("a", "a")))
	f.Add(archive(f, item{Header: tar.Header{
		Name: "x", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3,
		PAXRecords: map[string]string{"SCHILY.xattr.user.a": "v", "SCHILY.xattr.system.posix_acl_access": "\x02\x00\x00\x00"},
	}}))
	limits := Limits{Entries: 200, Bytes: 8 << 20}
	f.Fuzz(func(t *testing.T, data []byte) {
		rootfs, seed := newImage(t, "rootfs"), newImage(t, "seed")
		_, err := Tar(t.Context(), bytes.NewReader(data), rootfs, seed, Options{SeedSize: 8 << 20, Limits: limits})
		if errors.Is(err, errdefs.ErrInvalid) || errors.Is(err, errdefs.ErrExhausted) {
			return
		}
		if err != nil {
			t.Fatalf("error without a class: %v", err)
		}
		for _, image := range []*os.File{rootfs, seed} {
			if out, err := exec.Command("e2fsck", "-fn", image.Name()).CombinedOutput(); err != nil {
				t.Fatalf("e2fsck: %v\n%s", err, out)
			}
		}
	})
}
