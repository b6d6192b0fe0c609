package initramfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// unpacked is an entry as the kernel would make it: "mode nlink major:minor content".
type unpacked map[string]string

// unpack reads archives that follow each other, checking what the kernel's parser (init/initramfs.c) relies on.
func unpack(t *testing.T, data []byte) unpacked {
	t.Helper()
	files := unpacked{}
	inodes := map[uint64]bool{}
	start := len(data)
	for len(data) > 0 {
		offset := start - len(data)
		if data[0] == 0 {
			data = data[1:]
			continue
		}
		if offset%4 != 0 || len(data) < 110 || string(data[:6]) != "070701" {
			t.Fatalf("no header at %d", offset)
		}
		var field [13]uint64
		for i := range field {
			v, err := strconv.ParseUint(string(data[6+8*i:14+8*i]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			field[i] = v
		}
		ino, mode, links, size, nameLen := field[0], field[1], field[4], int(field[6]), int(field[11])
		name := string(data[110 : 110+nameLen-1])
		data = data[align(110+nameLen):]
		content := string(data[:size])
		data = data[align(size):]
		if name == "TRAILER!!!" {
			inodes = map[uint64]bool{}
			continue
		}
		if inodes[ino] {
			t.Errorf("%s: inode %d is taken", name, ino)
		}
		inodes[ino] = true
		if _, ok := files[name]; ok {
			t.Errorf("%s is there twice", name)
		}
		if parent, _, ok := cutLast(name); ok && files[parent] == "" {
			t.Errorf("%s comes before its directory", name)
		}
		files[name] = fmt.Sprintf("%o %d %d:%d %s", mode, links, field[9], field[10], content)
	}
	return files
}

func align(n int) int { return (n + 3) &^ 3 }

func cutLast(name string) (parent, base string, ok bool) {
	at := strings.LastIndexByte(name, '/')
	if at < 0 {
		return "", name, false
	}
	return name[:at], name[at+1:], true
}

var testModules = []Module{
	{Path: "/lib/modules/6.1/kernel/b.ko", Content: []byte("bbbbb")},
	{Path: "/lib/modules/6.1/a.ko", Content: []byte("a")},
}

func TestArchives(t *testing.T) {
	for _, compression := range []Compression{None, Gzip, Zstd} {
		t.Run(string(compression), func(t *testing.T) {
			var b bytes.Buffer
			err := Compress(&b, compression, func(w io.Writer) error { return WriteModules(w, testModules) })
			if err != nil {
				t.Fatal(err)
			}
			if b.Len()%blockSize != 0 {
				t.Errorf("%d bytes: what follows is not aligned", b.Len())
			}
			plain := decompress(t, compression, b.Bytes())
			var agent bytes.Buffer
			if err := WriteAgent(&agent, strings.NewReader("#!agent"), 7); err != nil {
				t.Fatal(err)
			}
			want := unpacked{
				"dev": "40755 2 0:0 ", "proc": "40755 2 0:0 ", "sys": "40755 2 0:0 ", "run": "40755 2 0:0 ",
				"dev/console": "20600 1 5:1 ",
				"etc":         "40755 2 0:0 ", "etc/banger": "40755 2 0:0 ",
				"etc/banger/modules": "100644 1 0:0 /lib/modules/6.1/kernel/b.ko\n/lib/modules/6.1/a.ko\n",
				"lib":                "40755 2 0:0 ", "lib/modules": "40755 2 0:0 ", "lib/modules/6.1": "40755 2 0:0 ",
				"lib/modules/6.1/kernel":      "40755 2 0:0 ",
				"lib/modules/6.1/kernel/b.ko": "100644 1 0:0 bbbbb",
				"lib/modules/6.1/a.ko":        "100644 1 0:0 a",
				"init":                        "100755 1 0:0 #!agent",
			}
			if diff := cmp.Diff(want, unpack(t, append(plain, agent.Bytes()...))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func decompress(t *testing.T, c Compression, data []byte) []byte {
	t.Helper()
	var r io.Reader = bytes.NewReader(data)
	switch c {
	case Gzip:
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		z.Multistream(false)
		r = z
	case Zstd:
		z, err := zstd.NewReader(bytes.NewReader(bytes.TrimRight(data, "\x00")))
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		r = z
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func TestCompressIsDeterministic(t *testing.T) {
	for _, compression := range []Compression{None, Gzip, Zstd} {
		var made [2]bytes.Buffer
		for i := range made {
			err := Compress(&made[i], compression, func(w io.Writer) error { return WriteModules(w, testModules) })
			if err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(made[0].Bytes(), made[1].Bytes()) {
			t.Errorf("%s: two archives of the same modules differ", compression)
		}
	}
}

func TestWriteAgentRefuses(t *testing.T) {
	for _, test := range []struct {
		name    string
		size    int64
		content string
		want    string
	}{
		{"too short", 10, "short", "5 bytes instead of 10"},
		{"too large", 1 << 32, "", "are too many"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := WriteAgent(io.Discard, strings.NewReader(test.content), test.size)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("WriteAgent: %v, want %q", err, test.want)
			}
		})
	}
}

func TestBadNames(t *testing.T) {
	for _, path := range []string{"/a\x00b", "/" + strings.Repeat("x", 5000)} {
		if err := WriteModules(io.Discard, []Module{{Path: path}}); err == nil || !strings.Contains(err.Error(), "bad name") {
			t.Errorf("WriteModules with %.10q: %v", path, err)
		}
	}
}

type full struct{ left int }

var errFull = errors.New("disk full")

func (f *full) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriteErrors(t *testing.T) {
	for _, compression := range []Compression{None, Gzip, Zstd} {
		for _, left := range []int{0, 100} {
			err := Compress(&full{left}, compression, func(w io.Writer) error { return WriteModules(w, testModules) })
			if !errors.Is(err, errFull) {
				t.Errorf("%s, %d bytes left: %v", compression, left, err)
			}
		}
	}
	if err := Compress(io.Discard, "rot13", nil); err == nil {
		t.Error("an unknown compression was taken")
	}
}
