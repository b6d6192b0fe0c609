package flatten

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/internal/errdefs"
)

func archives(t testing.TB, layers ...[]item) [][]byte {
	t.Helper()
	var out [][]byte
	for _, items := range layers {
		out = append(out, archive(t, items...))
	}
	return out
}

func readers(t testing.TB, layers ...[]item) []io.Reader {
	t.Helper()
	var out []io.Reader
	for _, data := range archives(t, layers...) {
		out = append(out, bytes.NewReader(data))
	}
	return out
}

func TestLayers(t *testing.T) {
	for name, test := range namedLayers() {
		t.Run(name, func(t *testing.T) {
			m, err := flat(t, readers(t, test.layers...)...)
			if err != nil {
				t.Fatal(err)
			}
			if test.rootfs == nil {
				test.rootfs = []string{"/ dir"}
			}
			if test.seed == nil {
				test.seed = []string{"/ dir"}
			}
			got := tell(t, m.tree.rootfs, "")
			rest := make([]string, 0, len(got))
			for _, line := range got {
				if line != "/root dir" {
					rest = append(rest, line)
				}
			}
			if len(rest) == len(got) {
				t.Error("there is no /root")
			}
			if diff := cmp.Diff(test.rootfs, rest); diff != "" {
				t.Errorf("rootfs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.seed, tell(t, m.tree.seed, "")); diff != "" {
				t.Errorf("seed (-want +got):\n%s", diff)
			}
			if got := m.warnings.list(); len(got) != test.warnings {
				t.Errorf("warnings %q, want %d", got, test.warnings)
			}
		})
	}
}

// TestAttributesOfHiddenRoot follows the attributes of /root, which has two inodes, through layers.
func TestAttributesOfHiddenRoot(t *testing.T) {
	odd := item{Header: tar.Header{Name: "root", Typeflag: tar.TypeDir, Mode: 0o711, Uid: 7, ModTime: epoch}}
	for name, test := range map[string]struct {
		upper []item
		mode  uint16
	}{
		"untouched":        {nil, 0o711},
		"whiteout":         {[]item{file(".wh.root", "")}, 0o700},
		"around new":       {[]item{file("root/x", ""), file(".wh.root", "")}, 0o711},
		"opaque":           {[]item{file("root/.wh..wh..opq", "")}, 0o711},
		"opaque root":      {[]item{file(".wh..wh..opq", "")}, 0o700},
		"whiteout and new": {[]item{file(".wh.root", ""), odd}, 0o711},
		"new and whiteout": {[]item{odd, file(".wh.root", "")}, 0o711},
		"a file":           {[]item{file("root", "")}, 0o700},
	} {
		m, err := flat(t, readers(t, []item{odd, file("root/a", "")}, test.upper)...)
		if err != nil {
			t.Fatal(err)
		}
		a, errA := m.tree.rootfs.Stat("root")
		b, errB := m.tree.seed.Stat("")
		if err := errors.Join(errA, errB); err != nil {
			t.Fatal(err)
		}
		if a.Mode != test.mode || b.Mode != test.mode || a.UID != b.UID {
			t.Errorf("%s: mode %#o and %#o, want %#o", name, a.Mode, b.Mode, test.mode)
		}
	}
}

func TestEmptyTar(t *testing.T) {
	for _, data := range [][]byte{nil, archive(t)} {
		_, err := Tar(t.Context(), bytes.NewReader(data), newImage(t, "r"), nil, Options{})
		if !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), "empty") {
			t.Error(err)
		}
	}
}

func TestLargeFile(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 8 GiB of zeros")
	}
	const size = 8<<30 + 12345
	layer := Layer{Name: "large", Open: func(context.Context) (io.ReadCloser, error) {
		var head bytes.Buffer
		w := tar.NewWriter(&head)
		if err := w.WriteHeader(&tar.Header{Name: "large", Typeflag: tar.TypeReg, Size: size, Format: tar.FormatPAX, ModTime: epoch}); err != nil {
			return nil, err
		}
		return io.NopCloser(io.MultiReader(&head, io.LimitReader(zeroReader{}, size-5), strings.NewReader("large"), bytes.NewReader(make([]byte, 4096-size%512)))), nil
	}}
	rootfs := newImage(t, "rootfs")
	result, err := Layers(t.Context(), []Layer{layer}, rootfs, nil, Options{})
	if err != nil || result.Bytes != size {
		t.Fatal(result, err)
	}
	e2fsck(t, rootfs)
	info, err := rootfs.Stat()
	if err != nil || info.Size() > 1<<20 {
		t.Errorf("an image of zeros has %d bytes, %v", info.Size(), err)
	}
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestLayersTwice expects the same bytes of the same layers.
func TestLayersTwice(t *testing.T) {
	for name, s := range namedStacks(t) {
		var sums [2][32]byte
		for i := range sums {
			hash := sha256.New()
			rootfs, seed, err := mergeFiles(t, archives(t, s.layers...))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(hash, io.MultiReader(rootfs, io.NewSectionReader(seed, 0, 8<<20))); err != nil {
				t.Fatal(err)
			}
			hash.Sum(sums[i][:0])
			rootfs.Close()
			seed.Close()
		}
		if sums[0] != sums[1] {
			t.Errorf("%s: the images differ", name)
		}
	}
}

// stream is a layer that may fail.
type stream struct {
	io.Reader
	closing error
	closed  *int
}

func (s stream) Close() error {
	*s.closed++
	return s.closing
}

func TestFailingLayers(t *testing.T) {
	good := archive(t, file("a", strings.Repeat("a", 5000)))
	broken := errors.New("the digest differs")
	for name, test := range map[string]struct {
		opening, closing error
		reader           io.Reader
		invalid          bool
	}{
		"open":               {opening: broken},
		"read":               {reader: io.MultiReader(bytes.NewReader(good[:700]), failing{broken})},
		"read after the end": {reader: io.MultiReader(bytes.NewReader(good), failing{broken})},
		"close":              {reader: bytes.NewReader(good), closing: broken},
		"cut, and close":     {reader: bytes.NewReader(good[:700]), closing: broken, invalid: true},
	} {
		t.Run(name, func(t *testing.T) {
			opened, closed := 0, 0
			open := func(context.Context) (io.ReadCloser, error) {
				if opened++; opened == 2 {
					return stream{test.reader, test.closing, &closed}, test.opening
				}
				return stream{bytes.NewReader(good), nil, &closed}, nil
			}
			layers := []Layer{{"first", open}, {"second", open}, {"third", open}}
			_, err := Layers(t.Context(), layers, newImage(t, "r"), nil, Options{})
			if errors.Is(err, broken) == test.invalid || errors.Is(err, errdefs.ErrInvalid) != test.invalid || !strings.Contains(err.Error(), "second") {
				t.Error(err)
			}
			wantClosed := 2
			if test.opening != nil {
				wantClosed = 1
			}
			if opened != 2 || closed != wantClosed {
				t.Errorf("%d layers opened, %d closed", opened, closed)
			}
		})
	}
}

// TestInventedParents bounds what one name can make.
func TestInventedParents(t *testing.T) {
	data := archive(t, file(strings.Repeat("d/", 2000)+"f", ""))
	_, err := Tar(t.Context(), bytes.NewReader(data), newImage(t, "r"), nil, Options{Limits: Limits{Entries: 1000}})
	if !errors.Is(err, errdefs.ErrExhausted) {
		t.Error(err)
	}
}
