package flatten

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// failer is what testing.T and rapid.T have in common here.
type failer interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	TempDir() string
}

// inDir gives a rapid.T a place for files.
type inDir struct {
	rapidT
	dir string
}

type rapidT interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func (d inDir) TempDir() string { return d.dir }

// mergeFiles makes the two file systems.
func mergeFiles(t failer, archives [][]byte) (rootfs, seed *os.File, err error) {
	dir := t.TempDir()
	var files [2]*os.File
	for i, name := range []string{"rootfs", "seed"} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files[i] = f
	}
	if _, err := Layers(context.Background(), openers(archives), files[0], files[1], Options{SeedSize: 64 << 20}); err != nil {
		return nil, nil, err
	}
	return files[0], files[1], nil
}

func e2fsck(t failer, files ...*os.File) {
	for _, f := range files {
		if out, err := exec.Command("e2fsck", "-fn", f.Name()).CombinedOutput(); err != nil {
			t.Fatalf("e2fsck -fn: %v\n%s", err, out)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
