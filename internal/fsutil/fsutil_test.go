package fsutil

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
)

const mib = 1 << 20

// sparse makes a file of the given size with a mark at each offset.
func sparse(t *testing.T, path string, size int64, marks ...int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range marks {
		if _, err := f.WriteAt([]byte("mark"), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestClone(t *testing.T) {
	for _, c := range []struct {
		name  string
		size  int64
		marks []int64
	}{
		{"empty", 0, nil},
		{"one hole", 64 * mib, nil},
		{"data at both ends", 64 * mib, []int64{0, 64*mib - 4}},
		{"data in the middle", 64*mib + 123, []int64{20 * mib, 40*mib - 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			src, dst := filepath.Join(t.TempDir(), "src"), filepath.Join(t.TempDir(), "dst")
			sparse(t, src, c.size, c.marks...)
			method, err := Clone(dst, src)
			if err != nil {
				t.Fatal(err)
			}
			if method != Reflink && method != SparseCopy {
				t.Errorf("method %q", method)
			}
			want, got := read(t, src), read(t, dst)
			if !bytes.Equal(want, got) {
				t.Error("the copy differs")
			}
			if n, err := Allocated(dst); err != nil || n > 2*mib {
				t.Errorf("the copy occupies %d bytes, %v", n, err)
			}
		})
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestCloneRefuses(t *testing.T) {
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
	if _, err := Clone(dst, src); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no source: %v", err)
	}
	sparse(t, src, mib, 0)
	sparse(t, dst, 10)
	if _, err := Clone(dst, src); !errors.Is(err, fs.ErrExist) {
		t.Errorf("target exists: %v", err)
	}
	if _, err := Clone(filepath.Join(dir, "new"), dir); err == nil {
		t.Error("a directory was cloned")
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a failed clone left its target: %v", err)
	}
}

// TestSparseCopyOnFullDisk writes to a file system of 64 KiB.
func TestSparseCopyOnFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	small := t.TempDir()
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("cannot mount a tmpfs here:", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(small, 0) })
	src := filepath.Join(t.TempDir(), "src")
	if err := os.WriteFile(src, make([]byte, mib), 0o600); err != nil {
		t.Fatal(err)
	}
	dst := filepath.Join(small, "dst")
	_, err := Clone(dst, src)
	if !errors.Is(err, errdefs.ErrExhausted) || errdefs.Hint(err) == "" {
		t.Errorf("got %v, want exhausted with a hint", err)
	}
	if _, err := os.Stat(dst); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a failed clone left its target: %v", err)
	}
}

func TestWriteAtomic(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, text := range []string{"one", "two"} {
		if err := WriteAtomic(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		if got := string(read(t, path)); got != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o640 {
		t.Errorf("mode %v", info.Mode())
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteAtomic(filepath.Join(dir, "d"), nil, 0o600); err == nil {
		t.Error("a directory was replaced")
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 {
		t.Errorf("temporary files are left: %v", entries)
	}
}

func TestFileInfo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	got, err := FileInfo(path)
	if err != nil {
		t.Fatal(err)
	}
	want := api.File{
		Path: path, Size: 3, Allocated: st.Blocks * 512,
		SHA256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", // FIPS 180-2, B.1
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDescribeSparseFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	sparse(t, path, 8*mib+5, 3*mib, 6*mib)
	got, err := Describe(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%x", sha256.Sum256(read(t, path))); got.SHA256 != want || got.Size != 8*mib+5 || got.Allocated > mib {
		t.Errorf("got %+v, want digest %s", got, want)
	}
}

func TestDescribeGivesUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	sparse(t, path, 1<<40)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Describe(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
