//go:build smoke

package smoke

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/banger-dev/banger/api"
)

// image asks banger about one image.
func (b *banger) image(ref string) api.Image {
	b.t.Helper()
	var image api.Image
	out := b.ok("image", "show", "--json", ref)
	if err := json.Unmarshal([]byte(out), &image); err != nil {
		b.t.Fatalf("image show --json: %v in %s", err, out)
	}
	return image
}

// imageRoundtrip exports an image as an OCI archive, pulls it back twice and boots it.
func imageRoundtrip(t *testing.T, b *banger) {
	archive := filepath.Join(t.TempDir(), "minimal.tar")
	b.ok("image", "export", "--format", "oci", "-o", archive, "minimal")
	t.Cleanup(func() { b.try("image", "delete", "back"); b.try("image", "delete", "again") })
	b.ok("image", "pull", "--name", "back", "oci-archive:"+archive)
	b.ok("image", "pull", "--name", "again", "oci-archive:"+archive)
	if a, c := b.image("back"), b.image("again"); a.Rootfs.SHA256 != c.Rootfs.SHA256 || a.WorkSeed.SHA256 != c.WorkSeed.SHA256 {
		t.Errorf("one archive made two images: %+v and %+v", a.Rootfs, c.Rootfs)
	}
	b.ok("image", "verify", "back")
	out := b.ok("vm", "run", "--rm", "--image", "back", "--", "sh", "-c", "cat /root/.profile | wc -l; busybox | head -1")
	if lines := strings.Fields(out); len(lines) < 2 || lines[0] == "0" || !strings.Contains(out, "BusyBox") {
		t.Errorf("the image that came back: %q", out)
	}
}

// registerPromoteDelete takes the user's own files as an image, then banger's copy of them.
func registerPromoteDelete(t *testing.T, b *banger) {
	rootfs := filepath.Join(t.TempDir(), "mine.ext4")
	data, err := os.ReadFile(b.image("minimal").Rootfs.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(rootfs, data, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.try("image", "delete", "mine") })
	b.ok("image", "register", "--name", "mine", "--rootfs", rootfs)
	if kind := b.image("mine").Kind; kind != "registered" {
		t.Errorf("after register it is %s", kind)
	}
	b.ok("image", "promote", "mine")
	if image := b.image("mine"); image.Kind != "managed" || image.Rootfs.Path == rootfs {
		t.Errorf("after promote: %s at %s", image.Kind, image.Rootfs.Path)
	}
	if err := os.Remove(rootfs); err != nil { // banger has its own
		t.Fatal(err)
	}
	b.ok("vm", "create", "--no-start", "--name", "user", "--image", "mine")
	t.Cleanup(func() { b.try("vm", "delete", "-f", "user") })
	b.fails(1, []string{"user"}, "image", "delete", "mine") // it is in use
	b.ok("vm", "start", "user")
	b.ok("vm", "exec", "user", "--", "true")
	b.ok("vm", "delete", "-f", "user")
	b.ok("image", "delete", "mine")
	b.fails(1, []string{"not found"}, "image", "show", "mine")
}
