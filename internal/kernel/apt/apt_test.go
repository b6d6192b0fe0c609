package apt

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/internal/errdefs"
)

// fakeTools puts shell scripts in the place of apt's tools.
func fakeTools(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	if len(scripts) == 0 {
		t.Setenv("PATH", dir)
	}
}

// aptCache answers `apt-cache show --no-all-versions -- NAME` from paragraphs by name.
func aptCache(paragraphs map[string]string) string {
	var b strings.Builder
	b.WriteString("case \"$4\" in\n")
	for name, text := range paragraphs {
		fmt.Fprintf(&b, "%s) cat <<'EOF'\n%s\nEOF\n;;\n", name, text)
	}
	b.WriteString("*) echo 'E: No packages found' >&2; exit 100;;\nesac\n")
	return b.String()
}

const debianMeta = `Package: linux-image-cloud-amd64
Version: 6.1.192-2
Depends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2)
Description: Linux for x86-64 cloud (meta-package)
 with a continued line: yes
Size: 1504`

const debianImage = `Package: linux-image-6.1.0-56-cloud-amd64
Version: 6.1.192-2
Depends: kmod, linux-base (>= 4.3~), initramfs-tools (>= 0.120+deb8u2) | linux-initramfs-tool
Size: 26713492
SHA256: 00be21c0`

func TestResolve(t *testing.T) {
	tests := []struct {
		name  string
		cache map[string]string
		want  Kernel
	}{
		{
			"debian",
			map[string]string{"linux-image-cloud-amd64": debianMeta, "linux-image-6.1.0-56-cloud-amd64": debianImage},
			Kernel{Release: "6.1.0-56-cloud-amd64", Packages: []Package{
				{Name: "linux-image-6.1.0-56-cloud-amd64", Version: "6.1.192-2", SHA256: "00be21c0", Size: 26713492},
			}},
		},
		{
			"ubuntu, whose modules are a package of their own",
			map[string]string{
				"linux-image-virtual":            "Package: linux-image-virtual\nVersion: 6.8.0-31.31\nDepends: linux-image-generic-x, linux-image-6.8.0-31-generic",
				"linux-image-6.8.0-31-generic":   "Package: linux-image-6.8.0-31-generic\nVersion: 6.8.0-31.31\nDepends: kmod, linux-modules-6.8.0-31-generic\nSize: 15\nSHA256: aa",
				"linux-modules-6.8.0-31-generic": "Package: linux-modules-6.8.0-31-generic\nVersion: 6.8.0-31.31\nSize: 20\nSHA256: bb",
			},
			Kernel{Release: "6.8.0-31-generic", Packages: []Package{
				{Name: "linux-image-6.8.0-31-generic", Version: "6.8.0-31.31", SHA256: "aa", Size: 15},
				{Name: "linux-modules-6.8.0-31-generic", Version: "6.8.0-31.31", SHA256: "bb", Size: 20},
			}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fakeTools(t, map[string]string{"apt-cache": aptCache(test.cache), "apt-get": "", "dpkg-deb": ""})
			got, err := Resolve(t.Context(), Metapackages...)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got.Packages {
				got.Packages[i].depends = nil
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(Package{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestResolveFails(t *testing.T) {
	tests := []struct {
		name  string
		tools map[string]string
		want  string
		hint  string
	}{
		{"no apt", nil, "has no apt-get", "kernel import"},
		{"empty lists", map[string]string{"apt-cache": aptCache(nil)}, "apt knows no package linux-image-cloud-amd64", "apt-get update"},
		{"half of the lists", map[string]string{"apt-cache": aptCache(map[string]string{"linux-image-cloud-amd64": debianMeta})}, "which linux-image-cloud-amd64=6.1.192-2 depends on", "apt-get update"},
		{"no kernel behind it", map[string]string{"apt-cache": aptCache(map[string]string{"linux-image-cloud-amd64": "Package: p\nVersion: 1"})}, "depends on no kernel", ""},
		{"broken lists", map[string]string{"apt-cache": "echo 'E: broken' >&2; exit 1"}, "E: broken", ""},
		{"nonsense", map[string]string{"apt-cache": "echo 'Package: p'; echo 'Version: 1'; echo 'Size: many'"}, `bad size "many"`, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.tools != nil {
				test.tools["apt-get"], test.tools["dpkg-deb"] = "", ""
			}
			fakeTools(t, test.tools)
			_, err := Resolve(t.Context(), Metapackages...)
			if !errors.Is(err, errdefs.ErrUnavailable) || !strings.Contains(err.Error(), test.want) || !strings.Contains(errdefs.Hint(err), test.hint) {
				t.Errorf("Resolve: %v (hint %q), want %q (%q)", err, errdefs.Hint(err), test.want, test.hint)
			}
		})
	}
}

func sum(s string) string {
	digest := sha256.Sum256([]byte(s))
	return hex.EncodeToString(digest[:])
}

func TestDownload(t *testing.T) {
	fakeTools(t, map[string]string{"apt-get": `
echo "dlstatus:1:25:Retrieving" >&3
printf "content of %s" "$*" | sed 's/.*-- //' > p_1_amd64.deb
echo "dlstatus:1:100:Retrieving" >&3
`})
	dir := t.TempDir()
	path, err := Download(t.Context(), Package{Name: "p", Version: "1", SHA256: sum("p=1"), Size: 3}, dir)
	if err != nil || path != filepath.Join(dir, "p_1_amd64.deb") {
		t.Errorf("Download = %q, %v", path, err)
	}
}

func TestDownloadFails(t *testing.T) {
	tests := []struct{ name, script, want, hint string }{
		{"gone from the archive", "echo 'E: Failed to fetch x  404  Not Found' >&2; exit 100", "404", "apt-get update"},
		{"silent", "exit 3", "exit status 3", ""},
		{"another file", "echo evil > p.deb", "apt's lists say", ""},
		{"nothing", "", "apt left 0 packages", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fakeTools(t, map[string]string{"apt-get": test.script})
			_, err := Download(t.Context(), Package{Name: "p", Version: "1", SHA256: sum("good")}, t.TempDir())
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(errdefs.Hint(err), test.hint) {
				t.Errorf("Download: %v (hint %q), want %q", err, errdefs.Hint(err), test.want)
			}
		})
	}
}

// TestDownloadEndsWithContext makes sure that a child which holds apt's pipes does not outlive the download.
func TestDownloadEndsWithContext(t *testing.T) {
	fakeTools(t, map[string]string{"apt-get": "sleep 60 & echo started > started; wait"})
	dir := t.TempDir()
	started := filepath.Join(dir, "started")
	if err := syscall.Mkfifo(started, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("the user left")
	done := make(chan error, 1)
	go func() {
		_, err := Download(ctx, Package{Name: "p", Version: "1"}, dir)
		done <- err
	}()
	if _, err := os.ReadFile(started); err != nil { // waits for the script
		t.Fatal(err)
	}
	cancel(reason)
	select {
	case err := <-done:
		if !errors.Is(err, reason) {
			t.Errorf("Download: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Download goes on")
	}
}

type file struct {
	name string
	kind byte
	body string
	link string
}

// deb makes what the fake dpkg-deb takes for a package: the bare tar stream.
func deb(t *testing.T, files ...file) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Typeflag: f.kind, Linkname: f.link, Size: int64(len(f.body)), Mode: 0o777}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.deb")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func unpacked(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestUnpack(t *testing.T) {
	fakeTools(t, map[string]string{"dpkg-deb": `cat "$2"`})
	dir := t.TempDir()
	err := Unpack(t.Context(), deb(t,
		file{name: "./", kind: tar.TypeDir},
		file{name: "./boot/vmlinuz-6.1", kind: tar.TypeReg, body: "kernel"},
		file{name: "./usr/lib/modules/6.1/kernel/a.ko", kind: tar.TypeReg, body: "a"},
		file{name: "./lib/modules/6.1/modules.builtin", kind: tar.TypeReg, body: "b"},
		file{name: "./lib/modules/6.1/build", kind: tar.TypeSymlink, link: "/usr/src"},
		file{name: "./etc/passwd", kind: tar.TypeReg, body: "evil"},
		file{name: "./boot/../../../../etc/passwd", kind: tar.TypeReg, body: "evil"},
		file{name: "/boot/absolute", kind: tar.TypeReg, body: "c"},
		file{name: "./boot/device", kind: tar.TypeChar},
	), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"boot/vmlinuz-6.1": "kernel", "boot/absolute": "c",
		"lib/modules/6.1/kernel/a.ko": "a", "lib/modules/6.1/modules.builtin": "b",
	}
	if diff := cmp.Diff(want, unpacked(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestUnpackRefuses(t *testing.T) {
	whole := deb(t, file{name: "boot/a", kind: tar.TypeReg, body: strings.Repeat("x", 4096)})
	tests := []struct{ name, script, deb, want string }{
		{"twice the same file", `cat "$2"`, deb(t, file{name: "boot/a", kind: tar.TypeReg}, file{name: "usr/boot/a", kind: tar.TypeReg}), `"usr/boot/a"`},
		{"a file where a directory should be", `cat "$2"`, deb(t, file{name: "boot/a", kind: tar.TypeReg}, file{name: "boot/a/b", kind: tar.TypeReg}), `"boot/a/b"`},
		{"truncated", `head -c 2000 "$2"`, whole, "truncated"},
		{"no package", "echo 'dpkg-deb: error: not a Debian format archive' >&2; exit 2", whole, "not a Debian format archive"},
		{"no tar", "yes | head -c 10000", whole, "invalid tar header"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fakeTools(t, map[string]string{"dpkg-deb": test.script})
			err := Unpack(t.Context(), test.deb, t.TempDir())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Unpack: %v, want %q", err, test.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(debianMeta))
	f.Add([]byte(debianImage))
	f.Fuzz(func(t *testing.T, out []byte) {
		p, err := parse(out)
		if err == nil && p != nil && (p.Name == "" || p.Name[0] == '-' || p.Version == "" || p.Size < 0) {
			t.Errorf("parse = %+v", p)
		}
	})
}

func FuzzUnpackTar(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: "./boot/../lib/modules/x", Typeflag: tar.TypeReg, Size: 1})
	_, _ = w.Write([]byte("x"))
	_ = w.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, stream []byte) {
		dir := t.TempDir()
		inner := filepath.Join(dir, "inner")
		if err := os.Mkdir(inner, 0o700); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(inner)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		_ = unpackTar(bytes.NewReader(stream), root)
		for name := range unpacked(t, dir) {
			if !strings.HasPrefix(name, "inner/boot/") && !strings.HasPrefix(name, "inner/lib/modules/") {
				t.Errorf("wrote %q", name)
			}
		}
	})
}
