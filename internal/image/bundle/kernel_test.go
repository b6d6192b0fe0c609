package bundle_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/image/bundle"
)

// write makes files, by path, in a new directory.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, p))
		out[p] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestKernel(t *testing.T) {
	all := map[string]string{
		"vmlinux": "ELF" + strings.Repeat("\x00", 200_000) + "end", "initrd.img": "cpio",
		"modules/modules.order": "kernel/a.ko\n", "modules/kernel/fs/a.ko": "a", "modules/kernel/b.ko.xz": "b",
	}
	for name, leave := range map[string][]string{
		"all": nil, "no initrd": {"initrd.img"},
		"no modules": {"modules/modules.order", "modules/kernel/fs/a.ko", "modules/kernel/b.ko.xz"},
	} {
		t.Run(name, func(t *testing.T) {
			want := map[string]string{}
			for p, content := range all {
				want[p] = content
			}
			for _, p := range leave {
				delete(want, p)
			}
			dir := write(t, want)
			if leave == nil {
				if err := os.Symlink("/usr/src", filepath.Join(dir, "modules/build")); err != nil {
					t.Fatal(err)
				}
			}
			m := bundle.KernelManifest{Name: "mine", Distro: "debian", Version: "6.1.0"}
			var first, second bytes.Buffer
			sum, err := bundle.WriteKernel(t.Context(), &first, m, dir)
			if err != nil || sum != digest(first.String()) {
				t.Fatal(sum, err)
			}
			if _, err := bundle.WriteKernel(t.Context(), &second, m, dir); err != nil || first.String() != second.String() {
				t.Errorf("one kernel made two bundles: %v", err)
			}
			out := t.TempDir()
			got, err := bundle.ReadKernel(t.Context(), &first, sum, out, bundle.Limits{})
			if err != nil || got.Name != "mine" || got.Version != "6.1.0" || got.Vmlinux.SHA256 != digest(want["vmlinux"]) {
				t.Errorf("%+v, %v", got, err)
			}
			if diff := cmp.Diff(want, files(t, out)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestKernelByHand(t *testing.T) {
	b := pack(t, []part{
		{name: "modules/", kind: tar.TypeDir},
		{name: "modules/6.1.0/", kind: tar.TypeDir},
		{name: "modules/6.1.0/a.ko", content: "a"},
		{name: "vmlinux", content: "ELF"},
	}, "")
	out := t.TempDir()
	m, err := bundle.ReadKernel(t.Context(), bytes.NewReader(b), "", out, bundle.Limits{})
	if err != nil || m.Arch != bundle.Arch || m.Vmlinux.Size != 3 {
		t.Errorf("%+v, %v", m, err)
	}
	if diff := cmp.Diff(map[string]string{"vmlinux": "ELF", "modules/6.1.0/a.ko": "a"}, files(t, out)); diff != "" {
		t.Error(diff)
	}
}

func TestKernelRefuses(t *testing.T) {
	vmlinux := part{name: "vmlinux", content: "ELF"}
	manifest := func(text string) part { return part{name: "manifest.json", content: text} }
	sums := `{"format": 1, "kind": "kernel", "arch": "x86_64", "vmlinux": {"size": 3, "sha256": "` + digest("ELF") + `"}`
	for name, test := range map[string]struct {
		parts  []part
		limits bundle.Limits
		err    string
	}{
		"no kernel":             {parts: []part{{name: "initrd.img"}}, err: "no vmlinux"},
		"another file":          {parts: []part{vmlinux, {name: "System.map"}}, err: `"System.map" does not belong`},
		"out of the modules":    {parts: []part{vmlinux, {name: "modules/../../x"}}, err: "does not belong"},
		"an odd path":           {parts: []part{vmlinux, {name: "modules//x"}}, err: "does not belong"},
		"control bytes":         {parts: []part{vmlinux, {name: "modules/a\nb"}}, err: "does not belong"},
		"modules, a file":       {parts: []part{vmlinux, {name: "modules", content: "x"}}, err: "does not belong"},
		"vmlinux, a directory":  {parts: []part{{name: "vmlinux/", kind: tar.TypeDir}}, err: "its type is '5'"},
		"a link among modules":  {parts: []part{vmlinux, {name: "modules/x", content: "/etc", kind: tar.TypeSymlink}}, err: "its type is '2'"},
		"a file in a file":      {parts: []part{vmlinux, {name: "modules/x"}, {name: "modules/x/y"}}, err: `entry "modules/x"`},
		"a file on a directory": {parts: []part{vmlinux, {name: "modules/x/y"}, {name: "modules/x"}}, err: `entry "modules/x"`},
		"a file twice":          {parts: []part{vmlinux, vmlinux}, err: "is there twice"},
		"too many files":        {parts: []part{vmlinux, {name: "modules/x"}, {name: "modules/y"}}, limits: bundle.Limits{Files: 2}, err: "more than 2 files"},
		"too large":             {parts: []part{vmlinux}, limits: bundle.Limits{Content: 2}, err: "more bytes"},
		"an image":              {parts: []part{manifest(`{"format": 1, "kind": "image"}`)}, err: `of kind "image"`},
		"another vmlinux":       {parts: []part{manifest(sums + "}"), {name: "vmlinux", content: "elf"}}, err: "not what the manifest says"},
		"an initrd too many":    {parts: []part{manifest(sums + "}"), vmlinux, {name: "initrd.img"}}, err: "do not agree"},
		"an initrd too few":     {parts: []part{manifest(sums + `, "initrd": {"size": 1, "sha256": "` + digest("x") + `"}}`), vmlinux}, err: "do not agree"},
	} {
		t.Run(name, func(t *testing.T) {
			above := t.TempDir()
			dir := filepath.Join(above, "in")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			_, err := bundle.ReadKernel(t.Context(), bytes.NewReader(pack(t, test.parts, "")), "", dir, test.limits)
			if !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %v, want %q", err, test.err)
			}
			if left, err := os.ReadDir(above); err != nil || len(left) != 1 {
				t.Error("something was written elsewhere", left, err)
			}
		})
	}
	if _, err := bundle.WriteKernel(t.Context(), &bytes.Buffer{}, bundle.KernelManifest{}, t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no vmlinux: %v", err)
	}
}
