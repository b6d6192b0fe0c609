package bundle_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/ext4"
	"github.com/banger-dev/banger/internal/fsutil"
	"github.com/banger-dev/banger/internal/image/bundle"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// part is an entry of an archive.
type part struct {
	name, content string
	kind          byte
}

// pack makes a bundle of anything.
func pack(t testing.TB, parts []part, trailer string) []byte {
	t.Helper()
	return compress(t, append(archive(t, parts), trailer...))
}

func archive(t testing.TB, parts []part) []byte {
	t.Helper()
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	for _, p := range parts {
		h := &tar.Header{Name: p.name, Typeflag: p.kind, Size: int64(len(p.content)), Mode: 0o600}
		if p.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if p.kind == tar.TypeSymlink || p.kind == tar.TypeLink {
			h.Linkname, h.Size = p.content, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := io.WriteString(w, p.content); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return plain.Bytes()
}

// encoder is shared, because making one takes long.
var encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(64<<10))
})

func compress(t testing.TB, plain []byte) []byte {
	t.Helper()
	z, err := encoder()
	if err != nil {
		t.Fatal(err)
	}
	return z.EncodeAll(plain, nil)
}

func newFile(t testing.TB) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// rootfs makes a file system with a large hole in it.
func rootfs(t testing.TB) *os.File {
	t.Helper()
	f := newFile(t)
	w, err := ext4.NewWriter(f, ext4.Options{Size: 8 << 20, Journal: true})
	if err == nil {
		err = w.Add(ext4.Entry{Path: "etc/os-release", Mode: 0o644, Size: 3}, strings.NewReader("ID="))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func content(t testing.TB, f *os.File) string {
	t.Helper()
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func digest(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

func manifestOf(rootfs string) string {
	return fmt.Sprintf(`{"format": 1, "kind": "image", "arch": "x86_64", "config": {}, "rootfs": {"size": %d, "sha256": %q}}`,
		len(rootfs), digest(rootfs))
}

func TestImage(t *testing.T) {
	fs := rootfs(t)
	m := bundle.Manifest{Name: "small", Kernel: "debian-cloud", Config: api.ImageConfig{Env: []string{"A=b"}, User: "me"}}
	var first, second bytes.Buffer
	sum, err := bundle.Write(t.Context(), &first, m, fs)
	if err != nil {
		t.Fatal(err)
	}
	if sum != digest(first.String()) {
		t.Error("another sha256 was returned than that of the bundle")
	}
	if _, err := bundle.Write(t.Context(), &second, m, fs); err != nil || second.String() != first.String() {
		t.Errorf("one image made two bundles: %v", err)
	}
	out := newFile(t)
	if _, err := out.WriteString(strings.Repeat("old", 1<<22)); err != nil {
		t.Fatal(err)
	}
	got, err := bundle.Read(t.Context(), iotestReader{&first}, "sha256:"+sum, out, bundle.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	m.Format, m.Kind, m.Arch = 1, "image", "x86_64"
	m.Rootfs = bundle.File{Size: 8 << 20, SHA256: digest(content(t, fs))}
	if diff := cmp.Diff(m, got); diff != "" {
		t.Error(diff)
	}
	if content(t, out) != content(t, fs) {
		t.Error("the root file system changed")
	}
	if n, err := fsutil.Allocated(out.Name()); err != nil || n > 6<<20 {
		t.Errorf("the root file system takes %d bytes on disk: %v", n, err)
	}
}

// iotestReader reads in pieces that fit nothing.
type iotestReader struct{ r io.Reader }

func (r iotestReader) Read(p []byte) (int, error) { return r.r.Read(p[:min(len(p), 1013)]) }

func TestReadsAnyOrder(t *testing.T) {
	fs := content(t, rootfs(t))
	b := pack(t, []part{{name: "rootfs.ext4", content: fs}, {name: "manifest.json", content: manifestOf(fs)}}, strings.Repeat("\x00", 10240))
	out := newFile(t)
	if _, err := bundle.Read(t.Context(), bytes.NewReader(b), "", out, bundle.Limits{}); err != nil {
		t.Fatal(err)
	}
	if content(t, out) != fs {
		t.Error("the root file system changed")
	}
}

func TestRefuses(t *testing.T) {
	fs := content(t, rootfs(t))
	good := []part{{name: "manifest.json", content: manifestOf(fs)}, {name: "rootfs.ext4", content: fs}}
	with := func(p ...part) []part { return append(append([]part{}, good...), p...) }
	manifest := func(old, fresh string) []part {
		return []part{{name: "manifest.json", content: strings.Replace(manifestOf(fs), old, fresh, 1)}, good[1]}
	}
	for name, test := range map[string]struct {
		bundle []byte
		want   string
		limits bundle.Limits
		err    string
	}{
		"another file":           {bundle: pack(t, with(part{name: "extra"}), ""), err: `entry "extra" does not belong`},
		"another path":           {bundle: pack(t, with(part{name: "../rootfs.ext4"}), ""), err: `entry "../rootfs.ext4" does not`},
		"an absolute path":       {bundle: pack(t, with(part{name: "/manifest.json"}), ""), err: `entry "/manifest.json" does not`},
		"a work seed":            {bundle: pack(t, with(part{name: "work-seed.ext4"}), ""), err: `entry "work-seed.ext4" does not`},
		"a directory":            {bundle: pack(t, with(part{name: "d/", kind: tar.TypeDir}), ""), err: `entry "d/": its type is '5'`},
		"a symbolic link":        {bundle: pack(t, []part{{name: "rootfs.ext4", content: "/etc/passwd", kind: tar.TypeSymlink}}, ""), err: "its type is '2'"},
		"a hard link":            {bundle: pack(t, []part{{name: "rootfs.ext4", content: "/etc/passwd", kind: tar.TypeLink}}, ""), err: "its type is '1'"},
		"a device":               {bundle: pack(t, []part{{name: "rootfs.ext4", kind: tar.TypeBlock}}, ""), err: "its type is '4'"},
		"a file twice":           {bundle: pack(t, with(good[1]), ""), err: `"rootfs.ext4" is there twice`},
		"no manifest":            {bundle: pack(t, good[1:], ""), err: "no manifest.json"},
		"no root file system":    {bundle: pack(t, good[:1], ""), err: "no rootfs.ext4"},
		"nothing":                {bundle: pack(t, nil, ""), err: "no manifest.json"},
		"something after":        {bundle: pack(t, good, "hidden"), err: "follows the archive's end"},
		"much after":             {bundle: pack(t, good, strings.Repeat("\x00", 2<<20)), err: "follow the archive's end"},
		"another compression":    {bundle: []byte("not compressed at all, says this text"), err: "magic"},
		"a cut":                  {bundle: pack(t, good, "")[:1000], err: "unexpected EOF"},
		"another sha256":         {bundle: pack(t, good, ""), want: digest("x"), err: "its sha256 is"},
		"no sha256":              {bundle: pack(t, good, ""), want: "abc", err: "not a sha256"},
		"garbage after the zstd": {bundle: append(pack(t, good, ""), "garbage!"...), err: "magic"},
		"too large a bundle":     {bundle: pack(t, good, ""), limits: bundle.Limits{Compressed: 100}, err: "more bytes than it may"},
		"too large files":        {bundle: pack(t, good, ""), limits: bundle.Limits{Content: 1 << 20}, err: `"rootfs.ext4": the files have more`},
		"a huge manifest":        {bundle: pack(t, []part{{name: "manifest.json", content: strings.Repeat(" ", 2<<20)}}, ""), err: "manifest.json has"},
		"another size":           {bundle: pack(t, manifest(`"size": `, `"size": 1`), ""), err: "the manifest says"},
		"another content":        {bundle: pack(t, manifest(digest(fs), digest("x")), ""), err: "not what the manifest says"},
		"another kind":           {bundle: pack(t, manifest(`"image"`, `"kernel"`), ""), err: `of kind "kernel", not "image"`},
		"a newer format":         {bundle: pack(t, manifest(`"format": 1`, `"format": 2`), ""), err: "format 2 is not known"},
		"an unknown key":         {bundle: pack(t, manifest(`"arch"`, `"x": 1, "arch"`), ""), err: `unknown field "x"`},
		"a key twice":            {bundle: pack(t, manifest(`"arch"`, `"kind": "image", "arch"`), ""), err: `"kind" is there twice`},
		"another machine":        {bundle: pack(t, manifest(`x86_64`, `riscv64`), ""), err: `for "riscv64"`},
		"an odd name":            {bundle: pack(t, manifest(`"arch"`, `"name": "../x", "arch"`), ""), err: "not valid"},
		"no JSON":                {bundle: pack(t, []part{{name: "manifest.json", content: "{"}, good[1]}, ""), err: "unexpected end"},
		"no file system": {
			bundle: pack(t, []part{{name: "manifest.json", content: manifestOf("x")}, {name: "rootfs.ext4", content: "x"}}, ""),
			err:    "not a file system",
		},
		"a truncated file system": {
			bundle: pack(t, []part{{name: "manifest.json", content: manifestOf(fs[:4<<20])}, {name: "rootfs.ext4", content: fs[:4<<20]}}, ""),
			err:    "truncated",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := bundle.Read(t.Context(), bytes.NewReader(test.bundle), test.want, newFile(t), test.limits)
			if !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %v, want %q", err, test.err)
			}
		})
	}
}

func TestStreamFails(t *testing.T) {
	fs := content(t, rootfs(t))
	b := pack(t, []part{{name: "manifest.json", content: manifestOf(fs)}, {name: "rootfs.ext4", content: fs}}, "")
	broken := errors.New("the line is cut")
	for _, at := range []int{0, 1, 500, len(b) - 1, len(b)} {
		r := io.MultiReader(bytes.NewReader(b[:at]), failing{broken})
		if _, err := bundle.Read(t.Context(), r, "", newFile(t), bundle.Limits{}); !errors.Is(err, broken) || errdefs.Class(err) != nil {
			t.Errorf("after %d bytes: %v", at, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := bundle.Read(ctx, bytes.NewReader(b), "", newFile(t), bundle.Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := bundle.Write(ctx, io.Discard, bundle.Manifest{}, rootfs(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := bundle.Write(t.Context(), failing{broken}, bundle.Manifest{}, rootfs(t)); !errors.Is(err, broken) {
		t.Errorf("written to what fails: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }
