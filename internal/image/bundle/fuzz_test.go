package bundle_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/image/bundle"
)

// FuzzRead reads archives that may be damaged, compressed by the test or not, as both kinds of bundles. An error is one of
// bad input, and nothing is written elsewhere.
func FuzzRead(f *testing.F) {
	small := manifestOf("x")
	for _, parts := range [][]part{
		{{name: "manifest.json", content: small}, {name: "rootfs.ext4", content: "x"}},
		{{name: "vmlinux", content: "ELF"}, {name: "initrd.img"}, {name: "modules/a/b.ko", content: "b"}},
		{{name: "modules/../x"}},
	} {
		f.Add(pack(f, parts, ""), true)
		f.Add(archive(f, parts), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, packed bool) {
		if !packed {
			b = compress(t, b)
		}
		limits := bundle.Limits{Content: 4 << 20}
		above := t.TempDir()
		dir := filepath.Join(above, "in")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := bundle.Read(t.Context(), bytes.NewReader(b), "", newFile(t), limits); err != nil && !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("image: %v", err)
		}
		if _, err := bundle.ReadKernel(t.Context(), bytes.NewReader(b), "", dir, limits); err != nil && !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("kernel: %v", err)
		}
		if left, err := os.ReadDir(above); err != nil || len(left) != 1 {
			t.Error("something was written elsewhere", left, err)
		}
	})
}

// FuzzManifest reads manifests: an error of bad input, or one that is whole.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(manifestOf("x")))
	f.Add([]byte(`{"format": 1, "kind": "kernel", "arch": "x86_64", "vmlinux": {"size": 1, "sha256": "` + digest("x") + `"}}`))
	f.Add([]byte(`{"format": 2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		i, err := bundle.ParseImage(data)
		if err != nil && !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("image: %v", err)
		}
		if err == nil && (i.Kind != bundle.KindImage || i.Arch != bundle.Arch || len(i.Rootfs.SHA256) != 64 || i.Rootfs.Size < 0) {
			t.Errorf("accepted: %+v", i)
		}
		k, err := bundle.ParseKernel(data)
		if err != nil && !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("kernel: %v", err)
		}
		if err == nil && (k.Kind != bundle.KindKernel || len(k.Vmlinux.SHA256) != 64) {
			t.Errorf("accepted: %+v", k)
		}
	})
}
