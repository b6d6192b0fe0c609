package bzimage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pierrec/lz4/v4"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/kernel/kerneltest"
)

var update = flag.Bool("update", false, "make testdata/payload.* again with the host's tools")

const testVersion = "6.1.0-56-cloud-amd64"

func testKernel() []byte { return kerneltest.Vmlinux(testVersion, kerneltest.Code(8_000)) }

// packers are the commands of the kernel's build (scripts/Makefile.lib).
var packers = map[string][]string{
	"gzip":  {"gzip", "-n", "-9"},
	"xz":    {"xz", "--check=crc32", "--x86", "--lzma2=dict=32MiB"},
	"zstd":  {"zstd", "-22", "--ultra", "-q"},
	"lz4":   {"lz4", "-l", "-9", "-c"},
	"bzip2": {"bzip2", "-9"},
	"lzma":  {"xz", "--format=lzma", "-9"},
}

func pack(t testing.TB, format string, content []byte) []byte {
	t.Helper()
	args := packers[format]
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = bytes.NewReader(content)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	if format == "gzip" {
		return out
	}
	return binary.LittleEndian.AppendUint32(out, uint32(len(content)))
}

// fixture returns the test kernel as the named tool packed it.
func fixture(t testing.TB, format string) []byte {
	t.Helper()
	path := filepath.Join("testdata", "payload."+format)
	if *update {
		if err := os.WriteFile(path, pack(t, format, testKernel()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func unpack(image []byte) (Info, []byte, error) {
	var out memory
	info, err := Unpack(&out, bytes.NewReader(image), int64(len(image)))
	return info, out, err
}

// memory is a File.
type memory []byte

const maxMemory = 16 << 20

var errFull = errors.New("no memory left in the test")

func (m *memory) Write(p []byte) (int, error) {
	if len(*m)+len(p) > maxMemory {
		return 0, errFull
	}
	*m = append(*m, p...)
	return len(p), nil
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(*m).ReadAt(p, off) }

func TestUnpack(t *testing.T) {
	want := testKernel()
	for format := range packers {
		t.Run(format, func(t *testing.T) {
			info, got, err := unpack(kerneltest.BzImage(fixture(t, format)))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Error("the kernel came out changed")
			}
			if w := (Info{Size: int64(len(want)), Format: format, Version: testVersion}); info != w {
				t.Errorf("Info = %+v, want %+v", info, w)
			}
		})
	}
	t.Run("vmlinux", func(t *testing.T) {
		info, got, err := unpack(want)
		if err != nil || !bytes.Equal(got, want) || info.Format != "none" {
			t.Errorf("Unpack = %+v, %v; same bytes: %v", info, err, bytes.Equal(got, want))
		}
	})
}

// TestUnpackBlocks has a kernel of several lz4 blocks, the last of them short.
func TestUnpackBlocks(t *testing.T) {
	want := kerneltest.Vmlinux(testVersion, kerneltest.Code(9<<20))
	packed := []byte("\x02\x21\x4c\x18")
	for rest := want; len(rest) > 0; {
		n := min(len(rest), lz4Content)
		block := make([]byte, lz4.CompressBlockBound(n))
		size, err := lz4.CompressBlock(rest[:n], block, nil)
		if err != nil {
			t.Fatal(err)
		}
		packed = append(binary.LittleEndian.AppendUint32(packed, uint32(size)), block[:size]...)
		rest = rest[n:]
	}
	packed = binary.LittleEndian.AppendUint32(packed, uint32(len(want)))
	if _, got, err := unpack(kerneltest.BzImage(packed)); err != nil || !bytes.Equal(got, want) {
		t.Errorf("Unpack: %v; same bytes: %v", err, bytes.Equal(got, want))
	}
}

func TestUnpackRefuses(t *testing.T) {
	good := kerneltest.BzImage(fixture(t, "xz"))
	vmlinux := testKernel()
	tests := []struct {
		name  string
		image []byte
		want  string
	}{
		{"empty", nil, "no kernel"},
		{"text", bytes.Repeat([]byte("hello\n"), 200), "neither an x86 bzImage nor an ELF vmlinux"},
		{"cut in the header", good[:0x230], "it ends after 560 bytes"},
		{"cut in the payload", good[:len(good)-100], "truncated: it has"},
		{"old protocol", edit(good, 0x206, 0x06, 0x02), "boot protocol 2.06"},
		{"no payload", edit(good, 0x24c, 0, 0, 0, 0), "has no payload"},
		{"payload out of reach", edit(good, 0x248, 0xff, 0xff, 0xff, 0xff), "truncated"},
		{"unknown compression", kerneltest.BzImage([]byte("some other format")), "compression is not known"},
		{"lzo", kerneltest.BzImage([]byte("\x89LZO\x00\x0d\x0a\x1a\x0a----\x00\x00\x00\x00")), "unsupported"},
		{"damaged payload", damage(good), "unpack the xz payload"},
		{"size too large", kerneltest.BzImage(resize(fixture(t, "zstd"), MaxSize+1)), "more than"},
		{"more than it declares", kerneltest.BzImage(resize(fixture(t, "zstd"), 100)), "that it declares"},
		{"less than it declares", kerneltest.BzImage(resize(fixture(t, "zstd"), len(vmlinux)+1)), "that it declares"},
		{"an lz4 block too large", kerneltest.BzImage([]byte("\x02\x21\x4c\x18\xff\xff\xff\x7f\x00\x00\x00\x00\x00")), "larger than a legacy frame allows"},
		{"an lz4 block cut", kerneltest.BzImage([]byte("\x02\x21\x4c\x18\x40\x00\x00\x00\x00\x00\x00\x00\x00")), "it is truncated"},
		{"32-bit", edit(vmlinux, 4, 1), "not for x86-64"},
		{"arm64", edit(vmlinux, 18, 183, 0), "EM_AARCH64"},
		{"object file", edit(vmlinux, 16, 1, 0), "not an executable"},
		{"vmlinux cut", vmlinux[:len(vmlinux)-60], "the vmlinux is truncated"},
		{"vmlinux cut in its headers", vmlinux[:100], "program headers are missing"},
		{"headers out of reach", edit(vmlinux, 32, 0, 0, 0, 0, 0, 0, 0, 0x80), "program headers are missing"},
		{"nothing to load", edit(vmlinux, 64+56, 6), "nothing to load"},
		{"no pvh", edit(vmlinux, 64+2*56+8, 17), "no PVH entry point"},
		{"no banner", bytes.Replace(vmlinux, []byte("Linux version"), []byte("Minix version"), 1), "no Linux kernel"},
		{"bad version", bytes.Replace(vmlinux, []byte("version 6.1"), []byte("version ../"), 1), "no Linux kernel"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := unpack(test.image)
			if err == nil || !strings.Contains(err.Error(), test.want) || !errors.Is(err, errdefs.ErrInvalid) {
				t.Errorf("Unpack: %v (class %v), want an invalid %q", err, errdefs.Class(err), test.want)
			}
		})
	}
}

func edit(image []byte, at int, value ...byte) []byte {
	image = bytes.Clone(image)
	copy(image[at:], value)
	return image
}

// damage changes a byte in the middle of the payload.
func damage(image []byte) []byte {
	at := len(image) - 100
	return edit(image, at, ^image[at])
}

func resize(payload []byte, size int) []byte {
	return binary.LittleEndian.AppendUint32(bytes.Clone(payload[:len(payload)-4]), uint32(size))
}

// TestUnpackTellsWriteErrors makes sure that a full disk is not taken for a bad kernel.
func TestUnpackTellsWriteErrors(t *testing.T) {
	image := kerneltest.BzImage(fixture(t, "gzip"))
	_, err := Unpack(full{}, bytes.NewReader(image), int64(len(image)))
	if !errors.Is(err, errFull) || errdefs.Class(err) != nil {
		t.Errorf("Unpack: %v, class %v", err, errdefs.Class(err))
	}
}

type full struct{ io.ReaderAt }

func (full) Write([]byte) (int, error) { return 0, errFull }

// TestBannerAcrossWindows puts the banner on the edge of what is read at once.
func TestBannerAcrossWindows(t *testing.T) {
	text := "Linux version " + testVersion + " (x)"
	for shift := range len(text) {
		data := append(make([]byte, 1<<20-shift), text...)
		if v, err := banner(bytes.NewReader(data)); v != testVersion || err != nil {
			t.Fatalf("%d bytes before the edge: %q, %v", shift, v, err)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	for format := range packers {
		f.Add(kerneltest.BzImage(fixture(f, format)))
	}
	f.Add(kerneltest.Vmlinux(testVersion, nil))
	f.Fuzz(func(t *testing.T, image []byte) {
		info, out, err := unpack(image)
		if err != nil {
			return
		}
		if info.Size != int64(len(out)) || !ValidVersion(info.Version) {
			t.Errorf("Unpack = %+v with %d bytes", info, len(out))
		}
		// What it accepted once, it accepts unpacked.
		if again, _, err := unpack(out); err != nil || again.Version != info.Version {
			t.Errorf("Unpack of the result = %+v, %v", again, err)
		}
	})
}
