// The race detector keeps shadow memory of its own, several times what is measured here.
//go:build !race

package flatten

import (
	"archive/tar"
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const memoryChild = "BANGER_TEST_MEMORY_CHILD"

// TestMemory promises that an image of 500000 files in two layers is merged in less than 256 MiB of resident memory,
// the program itself included. It measures a process that does nothing else.
func TestMemory(t *testing.T) {
	if os.Getenv(memoryChild) != "" {
		mergeMany(t)
		return
	}
	if testing.Short() {
		t.Skip("merges 500000 files")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMemory$", "-test.v")
	cmd.Env = append(os.Environ(), memoryChild+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	_, after, _ := strings.Cut(string(out), "VmHWM:")
	var peak int
	if _, err := fmt.Sscan(after, &peak); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	t.Logf("peak %d MiB", peak>>10)
	if peak > 256<<10 {
		t.Errorf("peak of resident memory is %d KiB", peak)
	}
}

func mergeMany(t *testing.T) {
	rootfs, seed := newImage(t, "rootfs"), newImage(t, "seed")
	layers := []Layer{generated(0, 400_000), generated(350_000, 500_000)} // the last one replaces 50000 files of the first
	started := time.Now()
	result, err := Layers(t.Context(), layers, rootfs, seed, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if result.Entries != 550_000+550_000/20 {
		t.Errorf("%d entries", result.Entries)
	}
	t.Logf("%d entries in %v", result.Entries, time.Since(started))
	status, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "VmHWM") {
			fmt.Println(lines.Text())
		}
	}
}

// generated is a layer of files with the numbers from first to last, twenty in a directory, which exists only while it
// is read. One file of ten has content, so that the test does not write gigabytes; the others have holes.
func generated(first, last int) Layer {
	return Layer{Name: fmt.Sprint(first), Open: func(context.Context) (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() {
			buffered := bufio.NewWriterSize(w, 1<<20)
			err := generate(tar.NewWriter(buffered), first, last)
			if err == nil {
				err = buffered.Flush()
			}
			_ = w.CloseWithError(err)
		}()
		return r, nil
	}}
}

func generate(w *tar.Writer, first, last int) error {
	content := []byte("a small file\n")
	for i := first; i < last; i++ {
		parent := fmt.Sprintf("usr/lib/node_modules/package-%d/dist-%d", i/200, i/20)
		if i%20 == 0 {
			if err := w.WriteHeader(&tar.Header{Name: parent + "/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: epoch}); err != nil {
				return err
			}
		}
		h := &tar.Header{Name: fmt.Sprintf("%s/a-name-of-usual-length-%d.js", parent, i), Typeflag: tar.TypeReg, Mode: 0o644, ModTime: epoch}
		switch i % 10 {
		case 0:
			h.Size = int64(len(content))
		case 1:
			h.Typeflag, h.Linkname = tar.TypeSymlink, "../a-name-of-usual-length.js"
		case 2:
			h.PAXRecords = map[string]string{"SCHILY.xattr.user.n": fmt.Sprint(i % 1000)}
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if h.Size > 0 {
			if _, err := w.Write(content); err != nil {
				return err
			}
		}
	}
	return w.Close()
}
