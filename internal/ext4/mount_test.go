package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// These tests let this machine's kernel judge. They need root and loop devices: BANGER_TEST_MOUNT=1 runs them.

func needMount(t *testing.T) {
	t.Helper()
	if os.Getenv("BANGER_TEST_MOUNT") != "1" {
		t.Skip("BANGER_TEST_MOUNT is not 1: mounting needs root")
	}
}

// mountImage mounts an image and returns the mount point and a function that unmounts it.
func mountImage(t *testing.T, image, options string) (dir string, unmount func()) {
	t.Helper()
	dir = t.TempDir()
	tool(t, "mount", "-o", "loop,"+options, image, dir)
	mounted := true
	unmount = func() {
		if mounted {
			mounted = false
			tool(t, "umount", dir)
		}
	}
	t.Cleanup(unmount)
	return dir, unmount
}

func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func TestMountReadsEverything(t *testing.T) {
	needMount(t)
	f := newImage(t)
	w, err := NewWriter(f, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	acl := packedACL(1000)
	now := time.Unix(1<<33, 987654321)
	long := strings.Repeat("n", 255)
	mustAdd(t, w, Entry{Path: long, Mode: 0o6755, UID: 1 << 20, GID: 1<<32 - 2, ModTime: now}, "x")
	mustAdd(t, w, Entry{Path: "bytes \xff\n\x01", ModTime: time.Unix(-1<<31, 5)}, "")
	mustAdd(t, w, Entry{Path: "link", Type: Symlink, Mode: 0o777, Linkname: strings.Repeat("l", 4095)}, "")
	mustAdd(t, w, Entry{Path: "dev", Type: CharDevice, Major: 4095, Minor: 1<<20 - 1}, "")
	mustAdd(t, w, Entry{Path: "attrs", Xattrs: map[string][]byte{
		aclAccess: acl, "user.big": bytes.Repeat([]byte("b"), 3000), "trusted.t": []byte("t"),
		"security.capability": {1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
	}}, "")
	if err := w.Add(Entry{Path: "sparse", Size: 5<<30 + 7}, &spots{every: 1 << 20}); err != nil {
		t.Fatal(err)
	}
	for i := range 66000 {
		mustAdd(t, w, Entry{Path: fmt.Sprintf("many/sub-%d", i), Type: Directory, Mode: 0o755}, "")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	fsck(t, f.Name())
	dir, unmount := mountImage(t, f.Name(), "ro")
	defer unmount()

	st := lstat(t, filepath.Join(dir, long))
	if st.Mode != modeRegular|0o6755 || st.Uid != 1<<20 || st.Gid != 1<<32-2 || st.Mtim.Sec != 1<<33 || st.Mtim.Nsec != 987654321 {
		t.Errorf("long name: %+v", st)
	}
	if st := lstat(t, filepath.Join(dir, "bytes \xff\n\x01")); st.Mtim.Sec != -1<<31 {
		t.Errorf("old file: %+v", st)
	}
	if st := lstat(t, filepath.Join(dir, "dev")); unix.Major(st.Rdev) != 4095 || unix.Minor(st.Rdev) != 1<<20-1 {
		t.Errorf("device: %+v", st)
	}
	if target, err := os.Readlink(filepath.Join(dir, "link")); err != nil || target != strings.Repeat("l", 4095) {
		t.Errorf("readlink: %d bytes, %v", len(target), err)
	}
	if st := lstat(t, filepath.Join(dir, "many")); st.Nlink != 1 {
		t.Errorf("links of a very large directory: %d", st.Nlink)
	}
	for i := range 66000 {
		lstat(t, filepath.Join(dir, "many", fmt.Sprintf("sub-%d", i)))
	}
	if names, err := os.ReadDir(filepath.Join(dir, "many")); err != nil || len(names) != 66000 {
		t.Errorf("read large directory: %d names, %v", len(names), err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "many", "sub-x")); !os.IsNotExist(err) {
		t.Errorf("missing name in a large directory: %v", err)
	}
	checkXattr(t, filepath.Join(dir, "attrs"), aclAccess, acl)
	checkXattr(t, filepath.Join(dir, "attrs"), "user.big", bytes.Repeat([]byte("b"), 3000))
	checkXattr(t, filepath.Join(dir, "attrs"), "trusted.t", []byte("t"))
	sparse, err := os.Open(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer sparse.Close()
	if err := sameContent(sparse, io.LimitReader(&spots{every: 1 << 20}, 5<<30+7)); err != nil {
		t.Errorf("sparse file: %v", err)
	}
}

// packedACL returns an access ACL as the system calls have it: rw- for the owner and the user uid, r-- for others.
func packedACL(uid uint32) []byte {
	b := le.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 6, 1<<32 - 1}, {2, 6, uid}, {4, 4, 1<<32 - 1}, {16, 6, 1<<32 - 1}, {32, 4, 1<<32 - 1}} {
		b = le.AppendUint32(le.AppendUint16(le.AppendUint16(b, e.tag), e.perm), e.id)
	}
	return b
}

func lstat(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatalf("lstat %q: %v", path, err)
	}
	return st
}

func checkXattr(t *testing.T, path, name string, want []byte) {
	t.Helper()
	got := make([]byte, 1<<16)
	n, err := unix.Lgetxattr(path, name, got)
	if err != nil || !bytes.Equal(got[:max(n, 0)], want) {
		t.Errorf("%s: %x, %v; want %x", name, got[:max(n, 0)], err, want)
	}
}

// spots is content that is zeros but for 16 bytes at each multiple of every, which tell where they are.
type spots struct {
	every int64
	off   int64
}

func (s *spots) Read(p []byte) (int, error) {
	clear(p)
	const size = 16
	for at := s.off / s.every * s.every; at < s.off+int64(len(p)); at += s.every {
		mark := fmt.Appendf(nil, "%0*d", size, at)
		for i, c := range mark {
			if k := at + int64(i) - s.off; k >= 0 && k < int64(len(p)) {
				p[k] = c
			}
		}
	}
	s.off += int64(len(p))
	return len(p), nil
}

func sameContent(a, b io.Reader) error {
	x, y := make([]byte, 1<<20), make([]byte, 1<<20)
	for off := int64(0); ; {
		n, errA := io.ReadFull(a, x)
		m, errB := io.ReadFull(b, y)
		if n != m || !bytes.Equal(x[:n], y[:m]) {
			return fmt.Errorf("differs after %d bytes (%d and %d more)", off, n, m)
		}
		if n < len(x) { // the end of both
			return nil
		}
		if err := errors.Join(errA, errB); err != nil {
			return err
		}
		off += int64(n)
	}
}

func TestMountWritesAndSurvivesCrash(t *testing.T) {
	needMount(t)
	for name, o := range map[string]Options{
		"empty": {Size: 1 << 30, Journal: true},
		"large": {Size: 64 << 30, Journal: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newImage(t)
			w, err := NewWriter(f, o)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 3000 {
				mustAdd(t, w, Entry{Path: fmt.Sprintf("indexed/name-%d", i), Mode: 0o644}, "x")
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			dir, unmount := mountImage(t, f.Name(), "rw,commit=1")
			churn(t, dir)
			crashed := f.Name() + ".crashed"
			tool(t, "cp", "--sparse=always", f.Name(), crashed)
			unmount()
			fsck(t, f.Name())
			dir, unmount = mountImage(t, crashed, "rw") // replays the journal
			if st := lstat(t, filepath.Join(dir, "synced")); st.Size != 3<<20 {
				t.Errorf("a synced file has %d bytes after a crash", st.Size)
			}
			unmount()
			fsck(t, crashed)
		})
	}
}

// churn changes a mounted file system, syncs, and changes it again.
func churn(t *testing.T, dir string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3000 {
		must(os.WriteFile(filepath.Join(dir, "indexed", fmt.Sprintf("new-%d", i)), []byte("y"), 0o644))
	}
	for i := range 500 {
		must(os.Remove(filepath.Join(dir, "indexed", fmt.Sprintf("name-%d", i*3))))
		must(os.MkdirAll(filepath.Join(dir, fmt.Sprintf("d%d/e/f", i)), 0o755))
	}
	must(os.WriteFile(filepath.Join(dir, "synced"), make([]byte, 3<<20), 0o644))
	d, err := os.Open(dir)
	must(err)
	must(unix.Syncfs(int(d.Fd())))
	must(d.Close())
	for i := range 200 {
		must(os.RemoveAll(filepath.Join(dir, fmt.Sprintf("d%d", i))))
	}
	time.Sleep(1500 * time.Millisecond) // lets the kernel commit, so that the journal has something to replay
}

func TestMountGrows(t *testing.T) {
	needMount(t)
	for name, sizes := range map[string][2]int64{
		"small":                 {64 << 20, 3 << 30},
		"work disk":             {16 << 30, 40 << 30},
		"beyond the room":       {64 << 20, 100 << 30},
		"overlay to two TiB":    {64 << 30, 2 << 40},
		"within the last group": {128<<20*3 + 8<<20, 128<<20*3 + 100<<20},
	} {
		t.Run(name, func(t *testing.T) {
			f := newImage(t)
			if err := Format(f, Options{Size: sizes[0], Journal: true}); err != nil {
				t.Fatal(err)
			}
			if err := f.Truncate(sizes[1]); err != nil {
				t.Fatal(err)
			}
			dir, unmount := mountImage(t, f.Name(), "rw,noinit_itable")
			d, err := os.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			blocks := uint64(sizes[1] / blockSize)
			const resizeFS = 0x40086610 // EXT4_IOC_RESIZE_FS
			_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, d.Fd(), resizeFS, uintptr(unsafe.Pointer(&blocks)))
			_ = d.Close()
			if errno == syscall.EPERM {
				t.Skip("this root has no CAP_SYS_RESOURCE")
			}
			if errno != 0 {
				t.Fatalf("grow: %v", errno)
			}
			if err := os.WriteFile(filepath.Join(dir, "file"), bytes.Repeat([]byte("data"), 8<<20), 0o644); err != nil {
				t.Fatal(err)
			}
			var st unix.Statfs_t
			if err := unix.Statfs(dir, &st); err != nil {
				t.Fatal(err)
			}
			if size := int64(st.Blocks) * st.Bsize; size < sizes[1]*9/10 {
				t.Errorf("grown to %d bytes, want about %d", size, sizes[1])
			}
			unmount()
			fsck(t, f.Name())
		})
	}
}
