package ext4fs_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/ext4"
	"github.com/banger-dev/banger/internal/ext4/ext4fs"
)

// seen is what there is to compare of a file.
type seen struct {
	Type         ext4.Type
	Mode         uint16
	UID, GID     uint32
	Time         time.Time
	Size         int64
	Content      string // digest
	Link         string
	Major, Minor uint32
	Xattrs       map[string]string
	First        string
	Links        uint32
}

// read returns everything that a file system has, by path.
func read(t testing.TB, image string) map[string]seen {
	t.Helper()
	out := map[string]seen{}
	last := ""
	err := open(t, image).Walk(t.Context(), "", func(f *ext4fs.File) error {
		if _, twice := out[f.Path]; twice {
			t.Errorf("%q came twice", f.Path)
		}
		if parent := filepath.Dir(f.Path); parent == filepath.Dir(last) && filepath.Base(last) >= filepath.Base(f.Path) && last != "" {
			t.Errorf("%q came after %q", f.Path, last)
		}
		last = f.Path
		s := seen{
			Type: f.Type, Mode: f.Mode, UID: f.UID, GID: f.GID, Time: f.ModTime, Size: f.Size, Link: f.Linkname,
			Major: f.Major, Minor: f.Minor, First: f.First,
		}
		if f.Type != ext4.Directory {
			s.Links = f.Links
		}
		for name, value := range f.Xattrs {
			if s.Xattrs == nil {
				s.Xattrs = map[string]string{}
			}
			s.Xattrs[name] = string(value)
		}
		r, err := f.Content()
		if err != nil {
			return err
		}
		if s.Content, err = digest(r); err != nil {
			return fmt.Errorf("%q: %w", f.Path, err)
		}
		sparse, err := throughData(f)
		if err == nil && sparse != s.Content {
			err = errors.New("Data leaves out what is not zero")
		}
		out[f.Path] = s
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// throughData is the digest of the content whose parts outside of Data are taken as zeros.
func throughData(f *ext4fs.File) (string, error) {
	r, err := f.Content()
	if err != nil {
		return "", err
	}
	at, h := int64(0), sha256.New()
	zero := func(n int64) { _, _ = io.Copy(h, io.LimitReader(zeros{}, n)) }
	err = f.Data(func(off, size int64) error {
		if off < at || size <= 0 {
			return fmt.Errorf("data at %d+%d after %d", off, size, at)
		}
		zero(off - at)
		_, err := io.CopyN(io.Discard, r, off-at)
		if err == nil {
			_, err = io.CopyN(h, r, size)
		}
		at = off + size
		return err
	})
	zero(max(f.Size-at, 0))
	return fmt.Sprintf("%x", h.Sum(nil)), err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func digest(r io.Reader) (string, error) {
	h := sha256.New()
	_, err := io.Copy(h, r)
	return fmt.Sprintf("%x", h.Sum(nil)), err
}

func open(t testing.TB, image string) *ext4fs.FS {
	t.Helper()
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	e, err := ext4fs.Open(f, info.Size())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// look returns what the operating system sees in dir.
func look(t testing.TB, dir string) map[string]seen {
	t.Helper()
	out := map[string]seen{}
	first := map[uint64]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(p, dir), "/")
		s := seen{
			Mode: uint16(st.Mode & 0o7777), UID: st.Uid, GID: st.Gid, Time: time.Unix(st.Mtim.Unix()).UTC(),
			Type: map[uint32]ext4.Type{
				unix.S_IFREG: ext4.Regular, unix.S_IFDIR: ext4.Directory, unix.S_IFLNK: ext4.Symlink,
				unix.S_IFCHR: ext4.CharDevice, unix.S_IFBLK: ext4.BlockDevice, unix.S_IFIFO: ext4.FIFO, unix.S_IFSOCK: ext4.Socket,
			}[st.Mode&unix.S_IFMT],
		}
		content := io.Reader(strings.NewReader(""))
		switch s.Type {
		case ext4.Regular:
			s.Size = st.Size
			f, err := os.Open(p)
			if err != nil {
				return err
			}
			defer f.Close()
			content = f
		case ext4.Symlink:
			s.Link, _ = os.Readlink(p)
		case ext4.CharDevice, ext4.BlockDevice:
			s.Major, s.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
		}
		if s.Content, err = digest(content); err != nil {
			return err
		}
		s.Xattrs = xattrs(p)
		if s.Type != ext4.Directory {
			s.Links = uint32(st.Nlink)
			if st.Nlink > 1 {
				s.First = first[st.Ino]
				if s.First == "" {
					first[st.Ino] = rel
				}
			}
		}
		out[rel] = s
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func xattrs(p string) map[string]string {
	var out map[string]string
	list := make([]byte, 1<<16)
	n, err := unix.Llistxattr(p, list)
	if err != nil {
		return nil
	}
	for name := range bytes.SplitSeq(bytes.TrimRight(list[:n], "\x00"), []byte{0}) {
		if len(name) == 0 {
			continue
		}
		value := make([]byte, 1<<16)
		size, err := unix.Lgetxattr(p, string(name), value)
		if err == nil {
			if out == nil {
				out = map[string]string{}
			}
			out[string(name)] = string(value[:size])
		}
	}
	return out
}

// grow makes a tree with something of everything that this user and the file system of dir can hold.
func grow(t testing.TB, dir string, many int) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	must(os.Mkdir(in("dir"), 0o751))
	must(os.Mkdir(in("empty"), 0o700))
	must(os.WriteFile(in("small"), []byte("hello\n"), 0o640))
	must(os.WriteFile(in("zero"), nil, 0o600))
	must(os.WriteFile(in("middle"), bytes.Repeat([]byte("0123456789abcdef"), 6), 0o644))
	must(os.WriteFile(in("big"), bytes.Repeat([]byte("0123456789abcdef\n"), 60_000), 0o644))
	must(os.WriteFile(in(strings.Repeat("n", 255)), []byte("x"), 0o600))
	must(os.WriteFile(in("bytes \xff\n\x01"), []byte("x"), 0o600))
	must(os.Symlink("small", in("link")))
	must(os.Symlink(strings.Repeat("t", 59), in("link59")))
	must(os.Symlink(strings.Repeat("t", 60), in("link60")))
	must(os.Symlink(strings.Repeat("t", 800), in("link-long")))
	must(os.Link(in("small"), in("dir/hard")))
	must(os.Link(in("small"), in("a-hard")))
	must(unix.Mkfifo(in("fifo"), 0o644))
	must(os.WriteFile(in("attrs"), []byte("x"), 0o600))
	for name, value := range map[string][]byte{
		"user.a": []byte("1"), "user.empty": nil, "user.long": bytes.Repeat([]byte("v"), 600),
		"system.posix_acl_access": acl(),
	} {
		if err := unix.Lsetxattr(in("attrs"), name, value, 0); !errors.Is(err, unix.ENOTSUP) {
			must(err)
		}
	}
	if os.Geteuid() == 0 {
		must(unix.Mknod(in("char"), unix.S_IFCHR|0o620, int(unix.Mkdev(5, 1))))
		must(unix.Mknod(in("block"), unix.S_IFBLK|0o620, int(unix.Mkdev(259, 70000))))
		must(os.Chown(in("zero"), 70_000, 1<<20))
		must(unix.Lsetxattr(in("zero"), "security.capability", []byte{
			1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		}, 0))
	}
	must(os.Chmod(in("zero"), 0o755|fs.ModeSetuid))
	sparse(t, in("sparse"), 3<<20, 64<<10)
	sparse(t, in("hole-at-end"), 5<<20, 5<<20-1)
	must(os.Truncate(in("hole-at-end"), 7<<20+123))
	for i := range many {
		must(os.WriteFile(in(fmt.Sprintf("dir/entry-%d", i)), nil, 0o644))
	}
	for _, p := range []string{"small", "dir", "zero"} {
		must(os.Chtimes(in(p), time.Time{}, time.Unix(1_234_567_890, 0)))
	}
}

// sparse writes 4 KiB at every so many bytes, fewer than all of which make a file without holes.
func sparse(t testing.TB, name string, size, every int64) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for at := int64(0); at < size; at += every {
		if _, err := f.WriteAt(bytes.Repeat([]byte{byte(at/every) | 1}, 4096), at); err != nil {
			t.Fatal(err)
		}
	}
}

// acl returns rw- for the owner and the user 1000, r-- for the others.
func acl() []byte {
	b := []byte{2, 0, 0, 0}
	for _, e := range []struct{ tag, perm, id uint32 }{
		{1, 6, 1<<32 - 1}, {2, 6, 1000}, {4, 4, 1<<32 - 1}, {16, 6, 1<<32 - 1}, {32, 4, 1<<32 - 1},
	} {
		b = append(b, byte(e.tag), 0, byte(e.perm), 0, byte(e.id), byte(e.id>>8), byte(e.id>>16), byte(e.id>>24))
	}
	return b
}

// mke2fs makes a file system of the tree in dir.
func mke2fs(t testing.TB, dir, size string, options ...string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	tool(t, "mkfs.ext4", slices.Concat([]string{"-q", "-F"}, options, []string{"-d", dir, image, size})...)
	return image
}

func tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
