package ext4fs_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/ext4/ext4fs"
)

// These tests compare with this machine's kernel. They need root and loop devices: BANGER_TEST_MOUNT=1 runs them.

func mount(t *testing.T, image string) (dir string, unmount func()) {
	t.Helper()
	dir = t.TempDir()
	tool(t, "mount", "-o", "loop", image, dir)
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

func TestReadsWhatLinuxWrites(t *testing.T) {
	if os.Getenv("BANGER_TEST_MOUNT") != "1" {
		t.Skip("BANGER_TEST_MOUNT is not 1: mounting needs root")
	}
	for name, options := range map[string]string{
		"defaults":         "",
		"blocks of 1 KiB":  "-b 1024",
		"block maps":       "-b 1024 -O ^extent,^64bit,^metadata_csum",
		"inline data":      "-O inline_data",
		"large attributes": "-O ea_inode",
		"ext3":             "-t ext3",
	} {
		t.Run(name, func(t *testing.T) {
			image := filepath.Join(t.TempDir(), "image")
			tool(t, "mkfs.ext4", append(append([]string{"-q", "-F"}, strings.Fields(options)...), image, "64M")...)
			dir, unmount := mount(t, image)
			grow(t, dir, 4000)
			wear(t, dir, name == "large attributes")
			want := look(t, dir)
			unmount()
			if diff := cmp.Diff(want, read(t, image)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// wear leaves what a file system in use has: files in pieces, preallocated blocks, removed names, inline directories.
func wear(t *testing.T, dir string, large bool) {
	t.Helper()
	var files [2]*os.File
	for i := range files {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("pieces-%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	for i := range 700 { // written in turns, each synced, so that they do not lie in one piece
		f := files[i%2]
		if _, err := f.WriteAt(bytes.Repeat([]byte{byte(i)}, 1024), int64(i)*3*1024); err != nil {
			t.Fatal(err)
		}
		if i%20 < 2 {
			_ = f.Sync()
		}
	}
	if err := unix.Fallocate(int(files[0].Fd()), 0, 3<<20, 1<<20); err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		t.Fatal(err)
	}
	for i := range 1000 {
		_ = os.Remove(filepath.Join(dir, "dir", fmt.Sprintf("entry-%d", 3*i)))
	}
	for _, p := range []string{"inline", "inline/sub", "inline/sub/another-one"} {
		if err := os.Mkdir(filepath.Join(dir, p), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 6 { // some of which go into the inode's second part
		if err := os.WriteFile(filepath.Join(dir, "inline", fmt.Sprintf("name-%d", i)), bytes.Repeat([]byte("i"), 40*i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if large {
		value := bytes.Repeat([]byte("0123456789"), 4000)
		if err := unix.Setxattr(filepath.Join(dir, "small"), "user.large", value, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRefusesWhatIsInUse copies a mounted file system.
func TestRefusesWhatIsInUse(t *testing.T) {
	if os.Getenv("BANGER_TEST_MOUNT") != "1" {
		t.Skip("BANGER_TEST_MOUNT is not 1: mounting needs root")
	}
	for _, kind := range []string{"ext2", "ext4"} {
		image := filepath.Join(t.TempDir(), "image")
		tool(t, "mkfs.ext4", "-q", "-F", "-t", kind, image, "64M")
		dir, unmount := mount(t, image)
		grow(t, dir, 10)
		unix.Sync()
		f, err := os.Open(image)
		if err != nil {
			t.Fatal(err)
		}
		_, err = ext4fs.Open(f, 64<<20)
		if !errors.Is(err, errdefs.ErrState) || errdefs.Hint(err) == "" {
			t.Errorf("%s: %v", kind, err)
		}
		f.Close()
		unmount()
	}
}
