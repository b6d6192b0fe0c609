package flatten

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/ext4"
)

var epoch = time.Unix(1700000000, 0)

func newImage(t testing.TB, name string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// item is an entry of an archive.
type item struct {
	tar.Header
	content string
}

func file(name, content string) item {
	return item{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content)), ModTime: epoch}, content}
}

func dir(name string) item {
	return item{Header: tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755, ModTime: epoch}}
}

func symlink(name, target string) item {
	return item{Header: tar.Header{Name: name, Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: target, ModTime: epoch}}
}

func link(name, target string) item {
	return item{Header: tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target, ModTime: epoch}}
}

func archive(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		if err := w.WriteHeader(&i.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, i.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// flat merges archives and returns what a writer then has, before it is closed; at the end of the test it must be
// correct on disk.
func flat(t testing.TB, layers ...io.Reader) (*merge, error) {
	t.Helper()
	rootfs, seed := newImage(t, "rootfs"), newImage(t, "seed")
	m, err := newMerge(rootfs, seed, Options{SeedSize: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range layers {
		open := func(context.Context) (io.ReadCloser, error) { return io.NopCloser(r), nil }
		if err := m.layer(t.Context(), Layer{Name: fmt.Sprint(i), Open: open}); err != nil {
			return m, err
		}
	}
	t.Cleanup(func() {
		if err := m.tree.close(); err != nil {
			t.Fatal(err)
		}
		e2fsck(t, rootfs, seed)
	})
	return m, nil
}

// tell describes everything below path, a line each.
func tell(t testing.TB, w *ext4.Writer, path string) []string {
	t.Helper()
	e, err := w.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	line := "/" + path
	switch e.Type {
	case ext4.Regular:
		r, err := w.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		line += " = " + string(content)
	case ext4.Symlink:
		line += " -> " + e.Linkname
	case ext4.Directory:
		line += " dir"
	default:
		line += " special"
	}
	lines := []string{line}
	if e.Type != ext4.Directory {
		return lines
	}
	names, err := w.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		lines = append(lines, tell(t, w, strings.TrimPrefix(path+"/"+name, "/"))...)
	}
	return lines
}

func TestTree(t *testing.T) {
	for name, test := range map[string]struct {
		items    []item
		rootfs   []string
		seed     []string
		warnings int
	}{
		"what is in /root goes to the seed": {
			items:  []item{dir("./"), dir("./root/"), file("./root/.bashrc", "rc"), file("./etc/x", "x"), file("rooted", "r")},
			rootfs: []string{"/ dir", "/etc dir", "/etc/x = x", "/root dir", "/rooted = r"},
			seed:   []string{"/ dir", "/.bashrc = rc"},
		},
		"names with a slash in front are relative": {
			items:  []item{file("/etc/x", "x")},
			rootfs: []string{"/ dir", "/etc dir", "/etc/x = x", "/root dir"},
			seed:   []string{"/ dir"},
		},
		"links among parents are followed": {
			items: []item{
				dir("usr/lib"), symlink("lib", "usr/lib"), file("lib/a", "a"), symlink("abs", "/usr"), file("abs/lib/b", "b"),
				symlink("usr/up", "../../../usr/lib"), file("usr/up/c", "c"),
			},
			rootfs: []string{
				"/ dir", "/abs -> /usr", "/lib -> usr/lib", "/root dir", "/usr dir", "/usr/lib dir", "/usr/lib/a = a",
				"/usr/lib/b = b", "/usr/lib/c = c", "/usr/up -> ../../../usr/lib",
			},
			seed: []string{"/ dir"},
		},
		"links lead into and out of /root": {
			items: []item{
				symlink("home", "root"), file("home/a", "a"), dir("etc"), symlink("root/etc", "../etc"), file("root/etc/b", "b"),
				symlink("root/here", "."), file("root/here/c", "c"),
			},
			rootfs: []string{"/ dir", "/etc dir", "/etc/b = b", "/home -> root", "/root dir"},
			seed:   []string{"/ dir", "/a = a", "/c = c", "/etc -> ../etc", "/here -> ."},
		},
		"a link to what is not there yet": {
			items:  []item{symlink("a", "b/c"), file("a/x", "x")},
			rootfs: []string{"/ dir", "/a -> b/c", "/b dir", "/b/c dir", "/b/c/x = x", "/root dir"},
			seed:   []string{"/ dir"},
		},
		"the last of several entries counts": {
			items:  []item{file("a", "1"), file("a", "2"), dir("d"), file("d/x", "x"), file("d", "3"), symlink("s", "a"), file("s", "4")},
			rootfs: []string{"/ dir", "/a = 2", "/d = 3", "/root dir", "/s = 4"},
			seed:   []string{"/ dir"},
		},
		"a directory keeps what is in it": {
			items:  []item{file("d/x", "x"), dir("d")},
			rootfs: []string{"/ dir", "/d dir", "/d/x = x", "/root dir"},
			seed:   []string{"/ dir"},
		},
		"hard links, also across": {
			items: []item{
				file("a", "a"), link("b", "./a"), link("root/c", "a"), file("root/d", "d"), link("root/e", "/root/d"), link("f", "root/d"),
			},
			rootfs:   []string{"/ dir", "/a = a", "/b = a", "/f = d", "/root dir"},
			seed:     []string{"/ dir", "/c = a", "/d = d", "/e = d"},
			warnings: 1,
		},
		"a /root that is a link": {
			items:    []item{symlink("root", "var/roothome"), file("root/a", "a"), file("var/roothome/b", "b")},
			rootfs:   []string{"/ dir", "/root dir", "/var dir", "/var/roothome dir", "/var/roothome/b = b"},
			seed:     []string{"/ dir", "/a = a"},
			warnings: 1,
		},
		"odd names": {
			items:  []item{file("a\nb", "1"), file("\xff\xfe", "2"), file(strings.Repeat("n", 255), "3"), file("sp ace\\", "4")},
			rootfs: []string{"/ dir", "/a\nb = 1", "/" + strings.Repeat("n", 255) + " = 3", "/root dir", "/sp ace\\ = 4", "/\xff\xfe = 2"},
			seed:   []string{"/ dir"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := flat(t, bytes.NewReader(archive(t, test.items...)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.rootfs, tell(t, m.tree.rootfs, "")); diff != "" {
				t.Errorf("rootfs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.seed, tell(t, m.tree.seed, "")); diff != "" {
				t.Errorf("seed (-want +got):\n%s", diff)
			}
			if got := m.warnings.list(); len(got) != test.warnings {
				t.Errorf("warnings %q, want %d", got, test.warnings)
			}
		})
	}
}

func TestAttributes(t *testing.T) {
	items := []item{
		{Header: tar.Header{
			Name: "f", Typeflag: tar.TypeReg, Mode: 0o6755, Uid: 1 << 21, Gid: 5, ModTime: time.Unix(1<<33, 123456789),
			Format: tar.FormatPAX, PAXRecords: map[string]string{
				"SCHILY.xattr.user.a": "v\x00w", "SCHILY.xattr.security.capability": "caps", "SCHILY.xattr.com.apple.x": "no",
			},
		}},
		{Header: tar.Header{Name: "null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3, ModTime: epoch}},
		{Header: tar.Header{Name: "root", Typeflag: tar.TypeDir, Mode: 0o711, Uid: 7, ModTime: epoch}},
	}
	m, err := flat(t, bytes.NewReader(archive(t, items...)))
	if err != nil {
		t.Fatal(err)
	}
	stat := func(w *ext4.Writer, path string) ext4.Entry {
		e, err := w.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for name, test := range map[string]struct{ got, want ext4.Entry }{
		"file": {stat(m.tree.rootfs, "f"), ext4.Entry{
			Path: "f", Mode: 0o6755, UID: 1 << 21, GID: 5, ModTime: time.Unix(1<<33, 123456789),
			Xattrs: map[string][]byte{"user.a": []byte("v\x00w"), "security.capability": []byte("caps")},
		}},
		"device": {stat(m.tree.rootfs, "null"), ext4.Entry{
			Path: "null", Type: ext4.CharDevice, Mode: 0o666, Major: 1, Minor: 3, ModTime: epoch,
		}},
		"root":      {stat(m.tree.rootfs, "root"), ext4.Entry{Path: "root", Type: ext4.Directory, Mode: 0o711, UID: 7, ModTime: epoch}},
		"seed root": {stat(m.tree.seed, ""), ext4.Entry{Type: ext4.Directory, Mode: 0o711, UID: 7, ModTime: epoch}},
	} {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got := m.warnings.list(); len(got) != 1 || !strings.Contains(got[0], "com.apple.x") {
		t.Errorf("warnings: %q", got)
	}
}

func TestLimits(t *testing.T) {
	three := archive(t, file("a", "12345"), file("b", "12345"), link("root/c", "b"))
	for name, test := range map[string]struct {
		limits Limits
		fails  bool
	}{
		"just enough":     {Limits{Entries: 3, Bytes: 15}, false},
		"too many":        {Limits{Entries: 2}, true},
		"too large":       {Limits{Bytes: 9}, true},
		"too large copy":  {Limits{Bytes: 14}, true},
		"default is more": {Limits{}, false},
	} {
		_, err := Tar(t.Context(), bytes.NewReader(three), newImage(t, "r"), newImage(t, "s"), Options{Limits: test.limits, SeedSize: 64 << 20})
		if errors.Is(err, errdefs.ErrInvalid) != test.fails || (err != nil) != test.fails {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFailingStream(t *testing.T) {
	good := archive(t, file("a", strings.Repeat("a", 1<<20)))
	broken := errors.New("the cable is cut")
	for _, at := range []int{0, 100, 512, 5000} {
		r := io.MultiReader(bytes.NewReader(good[:at]), failing{broken})
		_, err := Tar(t.Context(), r, newImage(t, "r"), nil, Options{})
		if !errors.Is(err, broken) || errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("after %d bytes: %v", at, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Tar(ctx, bytes.NewReader(good), newImage(t, "r"), nil, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestRealTar gives GNU tar's own archives of a tree, in each of its formats, and expects the same image of all.
func TestRealTar(t *testing.T) {
	src := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("long-directory-name/", 12)
	must(os.MkdirAll(filepath.Join(src, long), 0o755))
	must(os.WriteFile(filepath.Join(src, long, strings.Repeat("n", 200)), []byte("deep"), 0o600))
	must(os.Symlink(long, filepath.Join(src, "link")))
	sparse, err := os.Create(filepath.Join(src, "sparse"))
	must(err)
	_, err = sparse.WriteAt([]byte("in the middle"), 5<<20)
	must(err)
	must(sparse.Truncate(8 << 20))
	must(sparse.Close())
	must(os.Link(filepath.Join(src, "sparse"), filepath.Join(src, "sparse2")))

	var want []string
	for _, format := range []string{"gnu", "pax", "posix"} {
		out, err := exec.Command("tar", "--create", "--sparse", "--sort=name", "--format="+format, "--mtime=@1700000000",
			"--directory", src, ".").Output()
		must(err)
		m, err := flat(t, bytes.NewReader(out))
		must(err)
		got := tell(t, m.tree.rootfs, "")
		if want == nil {
			want = got
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
		if at := strings.Index(strings.Join(got, "\n"), "in the middle"); at < 5<<20 {
			t.Errorf("%s: the sparse file's content is at %d", format, at)
		}
	}
}
