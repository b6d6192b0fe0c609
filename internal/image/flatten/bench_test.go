package flatten

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// benchArchive is a made-up root file system of 6000 files and 120 MB, or the archive that BANGER_BENCH_TAR names.
func benchArchive(b *testing.B) string {
	b.Helper()
	if path := os.Getenv("BANGER_BENCH_TAR"); path != "" {
		return path
	}
	random := rand.NewChaCha8([32]byte{})
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	content := make([]byte, 20<<10)
	for i := range 6000 {
		_, _ = random.Read(content)
		h := &tar.Header{Name: fmt.Sprintf("usr/%d/%d/file", i%60, i), Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}
		if err := w.WriteHeader(h); err != nil {
			b.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "bench.tar")
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		b.Fatal(err)
	}
	return path
}

func BenchmarkTar(b *testing.B) {
	path := benchArchive(b)
	for b.Loop() {
		in, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		rootfs, seed := newImage(b, "rootfs"), newImage(b, "seed")
		if _, err := Tar(b.Context(), in, rootfs, seed, Options{}); err != nil {
			b.Fatal(err)
		}
		size, err := in.Seek(0, io.SeekCurrent)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(size)
		_ = in.Close()
	}
}

// BenchmarkPeer does the same with tar and mke2fs: unpack, then make a file system of the tree.
func BenchmarkPeer(b *testing.B) {
	path := benchArchive(b)
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		dir := b.TempDir()
		image := filepath.Join(b.TempDir(), "image")
		blocks := fmt.Sprint(info.Size()*3/2/4096 + 16384)
		for _, args := range [][]string{
			{"tar", "-xf", path, "-C", dir},
			{"mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-d", dir, image, blocks},
		} {
			if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				b.Fatalf("%s: %v\n%s", args[0], err, out)
			}
		}
		b.SetBytes(info.Size())
	}
}
