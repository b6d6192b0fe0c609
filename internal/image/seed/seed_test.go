package seed_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
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
	"github.com/banger-dev/banger/internal/ext4/ext4fs"
	"github.com/banger-dev/banger/internal/image/flatten"
	"github.com/banger-dev/banger/internal/image/seed"
)

const seedSize = 16 << 20

var when = time.Unix(1_600_000_000, 123_456_789).UTC()

// item is an entry with its content, or a hard link.
type item struct {
	ext4.Entry
	content string
	link    string
}

func file(path, content string) item {
	return item{Entry: ext4.Entry{Path: path, Mode: 0o640, Size: int64(len(content)), ModTime: when}, content: content}
}

func directory(path string, mode uint16) item {
	return item{Entry: ext4.Entry{Path: path, Type: ext4.Directory, Mode: mode, ModTime: when}}
}

// sample is a root file system with all kinds of entries under /root.
func sample() []item {
	attrs := file("root/attrs", "x")
	attrs.Xattrs = map[string][]byte{"user.a": []byte("1"), "user.big": bytes.Repeat([]byte("b"), 700), "user.none": {}}
	owned := file("root/.ssh/key", strings.Repeat("k", 10_000))
	owned.UID, owned.GID, owned.Mode = 1000, 1<<20, 0o4600
	large := file("root/large", strings.Repeat("\x00", 300_000)+"end")
	return []item{
		directory("", 0o755), directory("etc", 0o755), file("etc/hosts", "127.0.0.1\n"),
		directory("root", 0o710), file("root/.bashrc", "alias l=ls\n"), directory("root/.ssh", 0o700), owned, attrs, large,
		{Entry: ext4.Entry{Path: "root/hard"}, link: "root/.bashrc"},
		{Entry: ext4.Entry{Path: "root/link", Type: ext4.Symlink, Mode: 0o777, Linkname: "/etc/hosts", ModTime: when}},
		{Entry: ext4.Entry{Path: "root/long", Type: ext4.Symlink, Mode: 0o777, Linkname: strings.Repeat("l", 500), ModTime: when}},
		{Entry: ext4.Entry{Path: "root/null", Type: ext4.CharDevice, Mode: 0o666, Major: 1, Minor: 3, ModTime: when}},
		{Entry: ext4.Entry{Path: "root/disk", Type: ext4.BlockDevice, Mode: 0o660, Major: 259, Minor: 70000, ModTime: when}},
		{Entry: ext4.Entry{Path: "root/fifo", Type: ext4.FIFO, Mode: 0o644, ModTime: when}},
		{Entry: ext4.Entry{Path: "root/socket", Type: ext4.Socket, Mode: 0o755, ModTime: when}},
		file("root/bytes \xff\n\x01", "odd"), file("zz", "last"),
		{Entry: ext4.Entry{Path: "zz-hard"}, link: "zz"},
	}
}

func newFile(t testing.TB) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func build(t testing.TB, items []item) seed.Disk {
	t.Helper()
	f := newFile(t)
	w, err := ext4.NewWriter(f, ext4.Options{ReadOnly: true})
	for _, i := range items {
		if err == nil && i.link != "" {
			err = w.Link(i.Path, i.link)
		} else if err == nil {
			err = w.Add(i.Entry, strings.NewReader(i.content))
		}
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return disk(t, f)
}

func disk(t testing.TB, f *os.File) seed.Disk {
	t.Helper()
	d, err := seed.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// list describes everything in a file system, below dir.
func list(t testing.TB, d seed.Disk, dir string) []string {
	t.Helper()
	fs, err := ext4fs.Open(d, d.Size)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	err = fs.Walk(t.Context(), dir, func(f *ext4fs.File) error {
		r, err := f.Content()
		if err != nil {
			return err
		}
		h := sha256.New()
		if _, err := io.Copy(h, r); err != nil {
			return err
		}
		f.ModTime = f.ModTime.UTC()
		out = append(out, fmt.Sprintf("%+q %v %x", f.Path, f.Entry, h.Sum(nil))+" "+f.First)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func fsck(t testing.TB, name string) {
	t.Helper()
	cmd := exec.Command("e2fsck", "-fn", name)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	if cmd.Err != nil && exec.Command("/usr/sbin/e2fsck", "-V").Run() != nil {
		t.Log("e2fsck is not installed")
		return
	}
	if cmd.Err != nil {
		cmd = exec.Command("/usr/sbin/e2fsck", "-fn", name)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
}

func sum(t testing.TB, f *os.File) string {
	t.Helper()
	h := sha256.New()
	info, err := f.Stat()
	if err == nil {
		_, err = io.Copy(h, io.NewSectionReader(f, 0, info.Size()))
	}
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func TestBuild(t *testing.T) {
	rootfs := build(t, sample())
	out, again := newFile(t), newFile(t)
	result, err := seed.Build(t.Context(), rootfs, out, seed.Options{Size: seedSize})
	if err != nil || len(result.Warnings) > 0 {
		t.Fatal(err, result.Warnings)
	}
	if diff := cmp.Diff(list(t, rootfs, "root"), list(t, disk(t, out), "")); diff != "" {
		t.Error(diff)
	}
	fsck(t, out.Name())
	if _, err := seed.Build(t.Context(), rootfs, again, seed.Options{Size: seedSize}); err != nil {
		t.Fatal(err)
	}
	if sum(t, out) != sum(t, again) {
		t.Error("the same root file system made two seeds")
	}
	want := int64(0)
	for _, i := range sample() {
		if strings.HasPrefix(i.Path, "root/") {
			want += i.Size
		}
	}
	if result.Bytes != want {
		t.Errorf("%d bytes were copied of %d", result.Bytes, want)
	}
}

func TestBuildIsAsLargeAsNeeded(t *testing.T) {
	items := []item{directory("root", 0o700), file("root/f", strings.Repeat("x", 20<<20))}
	for i := range 3000 {
		items = append(items, directory(fmt.Sprintf("root/d%d", i), 0o755))
	}
	out := newFile(t)
	if _, err := seed.Build(t.Context(), build(t, items), out, seed.Options{Size: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	fsck(t, out.Name())
	if size := disk(t, out).Size; size < 40<<20 || size > 256<<20 {
		t.Errorf("the seed has %d bytes", size)
	}
}

func TestBuildWithoutRoot(t *testing.T) {
	for name, items := range map[string][]item{
		"none":   {file("x", "")},
		"a file": {file("root", "")},
		"a link": {{Entry: ext4.Entry{Path: "root", Type: ext4.Symlink, Mode: 0o777, Linkname: "home"}}},
	} {
		t.Run(name, func(t *testing.T) {
			out := newFile(t)
			result, err := seed.Build(t.Context(), build(t, items), out, seed.Options{Size: seedSize})
			if err != nil || len(result.Warnings) != 1 {
				t.Fatal(err, result)
			}
			if got := list(t, disk(t, out), ""); len(got) != 1 {
				t.Error(got)
			}
			fsck(t, out.Name())
		})
	}
}

// TestTar takes an image apart, puts it together, and takes it apart again with the code that pulls images.
func TestTar(t *testing.T) {
	rootfs, work := build(t, sample()), build(t, []item{directory("", 0o711), file(".profile", "p"), file("Big", "b")})
	for name, upper := range map[string]*seed.Disk{"root file system": nil, "with a work seed": &work} {
		t.Run(name, func(t *testing.T) {
			var first, second bytes.Buffer
			for _, w := range []*bytes.Buffer{&first, &second} {
				result, err := seed.Tar(t.Context(), w, rootfs, upper, seed.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if sockets := len(result.Warnings); (upper == nil) != (sockets == 1) {
					t.Error(result.Warnings)
				}
			}
			if !bytes.Equal(first.Bytes(), second.Bytes()) {
				t.Error("one image made two archives")
			}
			r, s, merged := newFile(t), newFile(t), newFile(t)
			if _, err := flatten.Tar(t.Context(), &first, r, s, flatten.Options{SeedSize: seedSize}); err != nil {
				t.Fatal(err)
			}
			want := "root"
			from := rootfs
			if upper != nil {
				want, from = "", *upper
			}
			if diff := cmp.Diff(without(list(t, from, want), "socket"), list(t, disk(t, s), "")); diff != "" {
				t.Error(diff)
			}
			if _, err := seed.Merge(t.Context(), rootfs, upper, merged, seed.Options{}); err != nil {
				t.Fatal(err)
			}
			fsck(t, merged.Name())
			if diff := cmp.Diff(list(t, from, want), list(t, disk(t, merged), "root")); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(outside(list(t, rootfs, "")), outside(list(t, disk(t, merged), ""))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func without(list []string, name string) []string {
	var out []string
	for _, s := range list {
		if !strings.HasPrefix(s, `"`+name+`"`) {
			out = append(out, s)
		}
	}
	return out
}

// outside leaves out /root.
func outside(list []string) []string {
	var out []string
	for _, s := range list {
		if !strings.HasPrefix(s, `"root`) {
			out = append(out, s)
		}
	}
	return out
}

func TestTarNames(t *testing.T) {
	var b bytes.Buffer
	work := build(t, []item{directory("", 0o700), file("f", "")})
	rootfs := build(t, []item{file("a", ""), directory("z", 0o755)})
	if _, err := seed.Tar(t.Context(), &b, rootfs, &work, seed.Options{}); err != nil {
		t.Fatal(err)
	}
	var names []string
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	if diff := cmp.Diff([]string{"./", "a", "z/", "root/", "root/f"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestRefuses(t *testing.T) {
	good := build(t, sample())
	cut, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx    context.Context
		disk   seed.Disk
		limits flatten.Limits
		class  error
	}{
		"not a file system": {disk: seed.Disk{ReaderAt: strings.NewReader(strings.Repeat("x", 9000)), Size: 9000}, class: errdefs.ErrInvalid},
		"truncated":         {disk: seed.Disk{ReaderAt: good.ReaderAt, Size: good.Size - 4096}, class: errdefs.ErrInvalid},
		"too many entries":  {disk: good, limits: flatten.Limits{Entries: 3}, class: errdefs.ErrInvalid},
		"too large":         {disk: good, limits: flatten.Limits{Bytes: 3}, class: errdefs.ErrInvalid},
		"cancelled":         {ctx: cut, disk: good, class: context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			if test.ctx != nil {
				ctx = test.ctx
			}
			o := seed.Options{Size: seedSize, Limits: test.limits}
			if _, err := seed.Build(ctx, test.disk, newFile(t), o); !errors.Is(err, test.class) {
				t.Errorf("Build: %v", err)
			}
			if _, err := seed.Merge(ctx, test.disk, nil, newFile(t), o); !errors.Is(err, test.class) {
				t.Errorf("Merge: %v", err)
			}
			if _, err := seed.Tar(ctx, io.Discard, test.disk, nil, o); !errors.Is(err, test.class) {
				t.Errorf("Tar: %v", err)
			}
		})
	}
}
