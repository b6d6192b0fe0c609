package flatten

import (
	"archive/tar"
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/internal/errdefs"
)

// FuzzTar feeds archives that may be damaged. Whatever they hold, the answer is a class of error or two correct file
// systems.
func FuzzTar(f *testing.F) {
	f.Add(archive(f, dir("root"), file("root/a", "a"), link("b", "root/a"), symlink("c", "root"), file("c/d", "d")))
	f.Add(archive(f, file("a", "a"), dir("a"), file("a/../b", "b"), link("a", "a")))
	f.Add(archive(f, item{Header: tar.Header{
		Name: "x", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3,
		PAXRecords: map[string]string{"SCHILY.xattr.user.a": "v", "SCHILY.xattr.system.posix_acl_access": "\x02\x00\x00\x00"},
	}}))
	f.Fuzz(tarAndCheck)
}

func tarAndCheck(t *testing.T, data []byte) {
	rootfs, seed := newImage(t, "rootfs"), newImage(t, "seed")
	o := Options{SeedSize: 8 << 20, Limits: Limits{Entries: 200, Bytes: 8 << 20}}
	_, err := Tar(t.Context(), bytes.NewReader(data), rootfs, seed, o)
	if errors.Is(err, errdefs.ErrInvalid) || errors.Is(err, errdefs.ErrExhausted) {
		return
	}
	if err != nil {
		t.Fatalf("error without a class: %v", err)
	}
	if crc32.ChecksumIEEE(data)%16 == 0 { // starting a program for each input would leave little time for others
		e2fsck(t, rootfs, seed)
	}
	readBoth(t, rootfs, seed)
}

// FuzzEntries makes well-formed archives of hostile entries: three bytes of data choose type, name and link of one.
func FuzzEntries(f *testing.F) {
	f.Add([]byte{2, 0, 1, 0, 1, 0, 1, 1, 0, 5, 0, 2, 0, 6, 4, 3, 7, 6})
	f.Add([]byte{2, 0, 0, 2, 1, 2, 0, 2, 1, 3, 3, 3, 0, 9, 9, 1, 9, 4})
	names := []string{"a", "root", "root/b", "a/b", "root/a/c", ".", "/root/b/../b", "a/b/c", "b/root", "b", "../root", "/"}
	types := []byte{tar.TypeReg, tar.TypeLink, tar.TypeSymlink, tar.TypeDir, tar.TypeFifo, tar.TypeChar}
	f.Fuzz(func(t *testing.T, data []byte) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for len(data) >= 3 {
			h := &tar.Header{Name: names[int(data[1])%len(names)], Mode: int64(data[0]), Typeflag: types[int(data[0])%len(types)]}
			content := ""
			switch h.Typeflag {
			case tar.TypeReg:
				content = strings.Repeat("x", int(data[2])*100)
				h.Size = int64(len(content))
			case tar.TypeLink, tar.TypeSymlink:
				h.Linkname = names[int(data[2])%len(names)]
			}
			data = data[3:]
			if w.WriteHeader(h) != nil {
				continue
			}
			if _, err := io.WriteString(w, content); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		tarAndCheck(t, b.Bytes())
	})
}

// FuzzLayers makes layers of entries that quarrel: three bytes of data choose type, name and link of one, or begin a
// new layer. The model tells what is to come of them, unless it takes one for hostile.
func FuzzLayers(f *testing.F) {
	f.Add([]byte{0, 0, 1, 4, 1, 0, 255, 0, 0, 7, 1, 0, 8, 3, 0, 0, 3, 2})
	f.Add([]byte{2, 9, 5, 0, 10, 1, 255, 0, 0, 8, 9, 0, 7, 10, 0, 3, 9, 0, 255, 0, 0, 1, 3, 10})
	names := []string{"a", "b", "a/b", "a/c", "root", "root/a", "root/b/c", "b/a", "b/b/b", "lib", "lib/a", "lib/b/c", "."}
	flags := []byte{tar.TypeReg, tar.TypeLink, tar.TypeSymlink, tar.TypeDir, tar.TypeDir, tar.TypeFifo, tar.TypeReg, 'w', 'o'}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, known := newModel(), true
		m.touched = make(map[string]bool)
		layers := [][]item{nil}
		for ; len(data) >= 3; data = data[3:] {
			if data[0] == 255 {
				m.touched = make(map[string]bool)
				layers = append(layers, nil)
				continue
			}
			name, other := names[int(data[1])%len(names)], names[int(data[2])%len(names)]
			i := fuzzItem(flags[int(data[0])%len(flags)], name, other)
			known = known && m.apply(i)
			layers[len(layers)-1] = append(layers[len(layers)-1], i)
		}
		rootfs, seed, err := mergeFiles(t, archives(t, layers...))
		switch {
		case !known && (errors.Is(err, errdefs.ErrInvalid) || errors.Is(err, errdefs.ErrExhausted)):
			return
		case err != nil:
			t.Fatal(err)
		}
		got := readBoth(t, rootfs, seed)
		if diff := cmp.Diff(m.expect(), got); known && diff != "" {
			t.Fatalf("(-model +image):\n%s", diff)
		}
	})
}

func fuzzItem(flag byte, name, other string) item {
	dir, base := path.Split(name)
	switch flag {
	case 'w':
		return file(dir+".wh."+base, "")
	case 'o':
		return file(path.Join(name, ".wh..wh..opq"), "")
	case tar.TypeReg:
		return file(name, other)
	}
	i := item{Header: tar.Header{Name: name, Typeflag: flag, Mode: int64(len(other)), ModTime: epoch}}
	if flag == tar.TypeLink || flag == tar.TypeSymlink {
		i.Linkname = other
	}
	return i
}
