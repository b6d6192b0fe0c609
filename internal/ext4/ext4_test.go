package ext4

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// newImage returns an empty file that is closed and removed when the test ends.
func newImage(t testing.TB) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "image.ext4"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// check runs e2fsck, which must find nothing.
func check(path string) error {
	out, err := exec.Command("e2fsck", "-fn", path).CombinedOutput()
	if err != nil {
		return fmt.Errorf("e2fsck -fn: %w\n%s", err, out)
	}
	return nil
}

func fsck(t testing.TB, path string) {
	t.Helper()
	if err := check(path); err != nil {
		t.Fatal(err)
	}
}

func TestFormat(t *testing.T) {
	for name, o := range map[string]Options{
		"smallest with a journal": {Size: 8 << 20, Journal: true},
		"no journal":              {Size: 8 << 20},
		"one group":               {Size: 128 << 20, Journal: true},
		"short last group":        {Size: 1<<30 + 12345*4096, Journal: true},
		"no room in last group":   {Size: 128<<20*9 + 4096, Journal: true},
		"work disk":               {Size: 16 << 30, Journal: true, Label: "work"},
		"overlay":                 {Size: 64 << 30, Journal: true},
		"many inodes":             {Size: 1 << 30, Inodes: 8 * 32768, Journal: true},
		"1 TiB":                   {Size: 1 << 40, Journal: true},
		"exact":                   {},
		"exact with a journal":    {Journal: true},
		"read-only":               {ReadOnly: true},
		"read-only of a size":     {ReadOnly: true, Size: 1 << 30},
	} {
		t.Run(name, func(t *testing.T) {
			f := newImage(t)
			if err := Format(f, o); err != nil {
				t.Fatal(err)
			}
			fsck(t, f.Name())
		})
	}
}
