package ext4

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/ext4/ext4test"
)

// build makes a file system, which must be correct, and opens it.
func build(t testing.TB, o Options, fill func(*Writer)) *ext4test.Volume {
	t.Helper()
	f := newImage(t)
	w, err := NewWriter(f, o)
	if err != nil {
		t.Fatal(err)
	}
	fill(w)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	fsck(t, f.Name())
	return ext4test.Open(f)
}

func TestLargeDirectories(t *testing.T) {
	for name, test := range map[string]struct {
		names  int
		format string
	}{
		"two blocks":          {200, "name-%d"},
		"one level of index":  {20000, "name-%d"},
		"two levels of index": {10000, strings.Repeat("n", 240) + "-%d"},
	} {
		t.Run(name, func(t *testing.T) {
			want := make(map[string]bool)
			v := build(t, Options{}, func(w *Writer) {
				for i := range test.names {
					name := fmt.Sprintf(test.format, i)
					want["/d/"+name] = true
					mustAdd(t, w, Entry{Path: "d/" + name}, "")
				}
			})
			got := v.Walk()
			for p := range want {
				if _, ok := got[p]; !ok {
					t.Fatalf("%q is missing", p)
				}
			}
			if len(got) != len(want)+2 {
				t.Errorf("%d entries, want %d", len(got), len(want)+2)
			}
		})
	}
}

var nameHashes = map[string][2]uint32{
	"a":                                 {0x0a2fa3a0, 0x6b8ed956},
	"name-1":                            {0x09e9fce0, 0x3403c2a4},
	"0123456789abcdef0123456789abcdef":  {0x387ef65c, 0x3f72a358},
	"0123456789abcdef0123456789abcdefX": {0x881fa78a, 0x4e749e40},
	strings.Repeat("n", 255):            {0x9a6fd190, 0x6a1fca31},
	"\u00e9t\u00e9":                     {0x2ad1e140, 0x6033778f},
}

// TestNameHash has the hashes that debugfs dx_hash gives.
func TestNameHash(t *testing.T) {
	seed := [4]uint32{0x03020100, 0x07060504, 0x0b0a0908, 0x0f0e0d0c}
	for name, want := range nameHashes {
		major, minor := halfMD4(name, seed)
		if major != want[0] || minor != want[1] {
			t.Errorf("%q: %#x, %#x; want %#x, %#x", name, major, minor, want[0], want[1])
		}
	}
}

func TestDirectoryWithoutLinkCount(t *testing.T) {
	v := build(t, Options{ReadOnly: true}, func(w *Writer) {
		for i := range 65001 {
			mustAdd(t, w, Entry{Path: fmt.Sprintf("d/%d", i), Type: Directory}, "")
		}
	})
	if got := v.Walk()["/d"].Links; got != 1 {
		t.Errorf("links of a directory with 65001 directories: %d, want 1", got)
	}
}

func TestTooManyHardLinks(t *testing.T) {
	build(t, Options{}, func(w *Writer) {
		mustAdd(t, w, Entry{Path: "0"}, "x")
		for i := 1; i < maxFileLinks; i++ {
			if err := w.Link(fmt.Sprint(i), "0"); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Link("one more", "0"); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("one link too many: %v", err)
		}
	})
}

// TestFragments writes a file into the holes that others left, so that its extents need a tree.
func TestFragments(t *testing.T) {
	for name, o := range map[string]Options{"exact": {}, "writable": {Size: 256 << 20, Journal: true}} {
		t.Run(name, func(t *testing.T) {
			content := make([]byte, 3000*blockSize)
			for i := range content {
				content[i] = byte(i>>12) + byte(i) | 1
			}
			v := build(t, o, func(w *Writer) {
				for i := range 4000 {
					mustAdd(t, w, Entry{Path: fmt.Sprintf("small/%d", i)}, strings.Repeat("s", 4000))
				}
				for i := 0; i < 4000; i += 2 {
					if err := w.Remove(fmt.Sprintf("small/%d", i)); err != nil {
						t.Fatal(err)
					}
				}
				mustAdd(t, w, Entry{Path: "large"}, string(content))
				again, err := w.Open("large")
				if err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(again); err != nil || !bytes.Equal(got, content) {
					t.Errorf("content before close differs: %v", err)
				}
			})
			got := v.Walk()
			if got["/large"].Content != string(content) {
				t.Error("content differs")
			}
			for i := 1; i < 4000; i += 2 {
				if got[fmt.Sprintf("/small/%d", i)].Content != strings.Repeat("s", 4000) {
					t.Fatalf("small file %d differs", i)
				}
			}
		})
	}
}

// TestRemovedContentIsGone looks for content of a removed file in the image.
func TestRemovedContentIsGone(t *testing.T) {
	f := newImage(t)
	w, err := NewWriter(f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []struct{ path, content string }{{"keep", "k"}, {"secret", strings.Repeat("secret", 100000)}, {"last", "l"}} {
		mustAdd(t, w, Entry{Path: e.path}, e.content)
	}
	if err := errors.Join(w.Remove("secret"), w.Close()); err != nil {
		t.Fatal(err)
	}
	fsck(t, f.Name())
	all, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(all, []byte("secret")) {
		t.Error("content of a removed file is in the image")
	}
}

func TestSharedXattrBlocks(t *testing.T) {
	value := map[string][]byte{"user.v": bytes.Repeat([]byte("v"), 500)}
	v := build(t, Options{}, func(w *Writer) {
		for i := range 2500 {
			mustAdd(t, w, Entry{Path: fmt.Sprint(i), Xattrs: value}, "")
		}
		for i := range 100 {
			if err := w.Remove(fmt.Sprint(i * 20)); err != nil {
				t.Fatal(err)
			}
		}
	})
	blocks := make(map[uint32]uint32)
	for p, s := range v.Walk() {
		if p != "" {
			blocks[le.Uint32(v.Inode(s.Ino)[0x68:])]++
		}
	}
	if len(blocks) != 3 {
		t.Errorf("2400 equal sets of attributes take %d blocks, want 3", len(blocks))
	}
	for block, users := range blocks {
		if refs := le.Uint32(v.At(int64(block)*blockSize, 8)[4:]); refs != users {
			t.Errorf("block %d counts %d users, has %d", block, refs, users)
		}
	}
}

func TestXattrs(t *testing.T) {
	acl := packedACL(1000)
	f := newImage(t)
	w, err := NewWriter(f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{aclAccess: acl, aclDefault: acl, "user.x": []byte("1"), "user.large": make([]byte, 3000)}
	mustAdd(t, w, Entry{Path: "d", Type: Directory, Xattrs: want}, "")
	e, err := w.Stat("d")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, e.Xattrs); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	for name, value := range map[string][]byte{
		"user.":                             {},
		"other.x":                           {},
		"system.other":                      {},
		"user." + string(make([]byte, 256)): {},
		"user.zero\x00":                     {},
		"user.huge":                         make([]byte, 4096),
		aclAccess:                           []byte("text"),
		aclAccess + "x":                     acl,
		aclDefault:                          le.AppendUint32(nil, 1),
	} {
		err := w.Add(Entry{Path: "x", Xattrs: map[string][]byte{name: value}}, nil)
		if !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%q: %v, want an error of class invalid", name, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	fsck(t, f.Name())
}

func TestRefusedEntries(t *testing.T) {
	build(t, Options{}, func(w *Writer) {
		mustAdd(t, w, Entry{Path: "file"}, "x")
		for name, e := range map[string]Entry{
			"absolute":       {Path: "/x"},
			"not clean":      {Path: "a//b"},
			"dot dot":        {Path: "../x"},
			"dot dot alone":  {Path: ".."},
			"zero byte":      {Path: "a\x00b"},
			"long name":      {Path: strings.Repeat("x", 256)},
			"below a file":   {Path: "file/x"},
			"root as a file": {Path: ""},
			"type":           {Path: "x", Type: 99},
			"mode":           {Path: "x", Mode: 0o10000},
			"no target":      {Path: "x", Type: Symlink},
			"long target":    {Path: "x", Type: Symlink, Linkname: strings.Repeat("x", 4096)},
			"device":         {Path: "x", Type: CharDevice, Major: 4096},
			"negative size":  {Path: "x", Size: -1},
			"huge":           {Path: "x", Size: 16 << 40},
		} {
			if err := w.Add(e, strings.NewReader("")); !errors.Is(err, errdefs.ErrInvalid) {
				t.Errorf("%s: %v, want an error of class invalid", name, err)
			}
		}
		if err := w.Add(Entry{Path: "x", Size: 1}, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("content that is missing: %v", err)
		}
		if got, err := w.ReadDir(""); err != nil || !slices.Equal(got, []string{"file"}) {
			t.Errorf("after refused entries: %q, %v", got, err)
		}
	})
}

func TestUseAfterClose(t *testing.T) {
	w, err := NewWriter(newImage(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	mustAdd(t, w, Entry{Path: "a"}, "a")
	for range 2 {
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, err := range map[string]error{
		"add": w.Add(Entry{Path: "b"}, nil), "link": w.Link("b", "a"), "remove": w.Remove("a"),
	} {
		if !errors.Is(err, errdefs.ErrState) {
			t.Errorf("%s: %v, want an error of class wrong state", name, err)
		}
	}
}

func TestRefusedOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"negative":        {Size: -1},
		"too small":       {Size: 4095},
		"too large":       {Size: 16<<40 + 4096},
		"too many inodes": {Size: 128 << 20, Inodes: 40000},
		"label":           {Label: strings.Repeat("l", 17)},
	} {
		if err := Format(newImage(t), o); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%s: %v, want an error of class invalid", name, err)
		}
	}
}

func TestFullFileSystem(t *testing.T) {
	for name, o := range map[string]Options{"blocks": {Size: 2 << 20}, "inodes": {Size: 8 << 20, Inodes: 64}} {
		t.Run(name, func(t *testing.T) {
			w, err := NewWriter(newImage(t), o)
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; err == nil && i < 1000; i++ {
				err = w.Add(Entry{Path: fmt.Sprint(i), Size: 8192}, strings.NewReader(strings.Repeat("x", 8192)))
			}
			if !errors.Is(err, errdefs.ErrExhausted) {
				t.Errorf("a full file system: %v, want an error of class exhausted", err)
			}
		})
	}
}

// TestSeveralGroups fills more than one group with data, in both layouts.
func TestSeveralGroups(t *testing.T) {
	for name, o := range map[string]Options{"exact": {ReadOnly: true}, "writable": {Size: 1 << 30, Journal: true}} {
		t.Run(name, func(t *testing.T) {
			const size = 140 << 20
			v := build(t, o, func(w *Writer) {
				if err := w.Add(Entry{Path: "large", Size: size}, &spots{every: 60 << 10}); err != nil {
					t.Fatal(err)
				}
				mustAdd(t, w, Entry{Path: "after"}, "after")
			})
			got := v.Walk()
			if got["/after"].Content != "after" {
				t.Error("content after the first group differs")
			}
			if err := sameContent(strings.NewReader(got["/large"].Content), io.LimitReader(&spots{every: 60 << 10}, size)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDeterministic makes the same file system twice.
func TestDeterministic(t *testing.T) {
	sums := make(map[[32]byte]bool)
	for range 3 {
		v := build(t, Options{Size: 128 << 20, Journal: true, Epoch: time.Unix(1700000000, 0)}, func(w *Writer) {
			for i := range 2000 {
				mustAdd(t, w, Entry{Path: fmt.Sprintf("d%d/%d", i%7, i), Xattrs: map[string][]byte{
					"user.a": {byte(i % 5)}, "user.b": bytes.Repeat([]byte{2}, 99), "user.c": {3},
				}}, "content")
			}
			for _, p := range []string{"d1", "d3", "d2/2"} {
				if err := w.Remove(p); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 500 {
				mustAdd(t, w, Entry{Path: fmt.Sprintf("again/%d", i)}, strings.Repeat("x", i*50))
			}
		})
		sums[sha256.Sum256(v.At(0, 128<<20))] = true
	}
	if len(sums) != 1 {
		t.Errorf("%d different images: %x", len(sums), slices.Collect(maps.Keys(sums)))
	}
}

func TestDiscardWithoutHoles(t *testing.T) {
	f := newImage(t)
	d, err := newDevice(f, 3<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte{1}, 3<<20), 0); err != nil {
		t.Fatal(err)
	}
	if err := d.zero(blockSize, 2<<20); err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(all, []byte{0}); n != 2<<20 || all[blockSize] != 0 || all[blockSize-1] != 1 {
		t.Errorf("%d bytes are zero, want %d after the first block", n, 2<<20)
	}
}
