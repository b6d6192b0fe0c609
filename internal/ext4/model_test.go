package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/ext4/ext4test"
)

// model is a file system in the simplest form: nodes by path, where hard links share a node.
type model map[string]*modelNode

type modelNode struct {
	Entry
	content string
}

func newModel() model {
	return model{"": {Entry: Entry{Type: Directory, Mode: 0o755, ModTime: time.Unix(0, 0)}}}
}

// makeParents reports whether p can have its parents.
func (m model) makeParents(p string) bool {
	for i, c := range p {
		if c != '/' {
			continue
		}
		if m[p[:i]] == nil {
			m[p[:i]] = &modelNode{Entry: Entry{Type: Directory, Mode: 0o755, ModTime: time.Unix(0, 0)}}
		}
		if m[p[:i]].Type != Directory {
			return false
		}
	}
	return true
}

func (m model) remove(p string) {
	for k := range m {
		if k == p || strings.HasPrefix(k, p+"/") {
			delete(m, k)
		}
	}
}

func (m model) add(e Entry, content string) bool {
	if !m.makeParents(e.Path) {
		return false
	}
	if old := m[e.Path]; old != nil && old.Type == Directory && e.Type == Directory {
		old.Entry = e
		return true
	}
	m.remove(e.Path)
	m[e.Path] = &modelNode{Entry: e, content: content}
	return true
}

func (m model) link(p, target string) bool {
	n := m[target]
	if n == nil || n.Type == Directory {
		return false
	}
	if m[p] == n {
		return true
	}
	if p == "" || !m.makeParents(p) {
		return false
	}
	m.remove(p)
	m[p] = n
	return true
}

// expect returns what a reader of the file system should see, without inode numbers.
func (m model) expect() map[string]ext4test.File {
	links := make(map[*modelNode]uint16)
	for p, n := range m {
		if n.Type == Directory {
			links[n] += 2
			if p != "" {
				links[m[strings.TrimPrefix(path.Dir("/"+p), "/")]]++
			}
			continue
		}
		links[n]++
	}
	out := make(map[string]ext4test.File)
	for p, n := range m {
		s := ext4test.File{
			Mode: modeOf[n.Type] | n.Mode, UID: n.UID, GID: n.GID, Links: links[n],
			Sec: n.ModTime.Unix(), Nsec: uint32(n.ModTime.Nanosecond()), Content: n.content, Size: int64(len(n.content)),
		}
		if n.Type == CharDevice || n.Type == BlockDevice {
			s.Dev = fmt.Sprintf("%d:%d", n.Major, n.Minor)
		}
		attrs := make(map[string]string)
		for k, v := range n.Xattrs {
			attrs[k] = string(v)
		}
		s.Xattrs = attrs
		if p != "" {
			p = "/" + p
		}
		out[p] = s
	}
	return out
}

// TestWriterAgainstModel makes random calls and reads the result back.
func TestWriterAgainstModel(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		o := rapid.SampledFrom([]Options{{}, {ReadOnly: true}, {Size: 64 << 20, Journal: true}, {Size: 20 << 20}}).Draw(t, "options")
		f, err := os.Create(filepath.Join(dir, "image"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		w, err := NewWriter(f, o)
		if err != nil {
			t.Fatal(err)
		}
		m := newModel()
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				e, content := drawEntry(t)
				e.Size = int64(len(content))
				agree(t, m.add(e, content), w.Add(e, strings.NewReader(content)))
				e.Size = 0
			},
			"link": func(t *rapid.T) {
				p, target := drawPath(t, "path"), drawPath(t, "target")
				agree(t, m.link(p, target), w.Link(p, target))
			},
			"remove": func(t *rapid.T) {
				p := drawPath(t, "path")
				_, exists := m[p]
				m.remove(p)
				agree(t, exists, w.Remove(p))
			},
			"short content": func(t *rapid.T) {
				p := drawPath(t, "path")
				if !m.makeParents(p) || m[p] != nil {
					t.Skip("in the way")
				}
				if err := w.Add(Entry{Path: p, Size: 600000}, strings.NewReader(strings.Repeat("short", 60000))); err == nil {
					t.Fatal("content that is too short was accepted")
				}
			},
			"stat": func(t *rapid.T) { compareStat(t, w, m, drawPath(t, "path")) },
		})
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := check(f.Name()); err != nil {
			t.Fatal(err)
		}
		got := ext4test.Open(f).Walk()
		for p, s := range got {
			s.Ino = 0
			got[p] = s
		}
		if diff := cmp.Diff(m.expect(), got); diff != "" {
			t.Fatalf("read back (-want +got):\n%s", diff)
		}
	})
}

// agree fails when the writer refused what the model takes, or the other way round.
func agree(t *rapid.T, want bool, err error) {
	t.Helper()
	if want != (err == nil) {
		t.Fatalf("got %v, the model says %v", err, want)
	}
	if err != nil && !errors.Is(err, errdefs.ErrInvalid) && !errors.Is(err, errdefs.ErrNotFound) {
		t.Fatalf("error without a class: %v", err)
	}
}

func compareStat(t *rapid.T, w *Writer, m model, p string) {
	e, err := w.Stat(p)
	n := m[p]
	if (err == nil) != (n != nil) {
		t.Fatalf("stat %q: %v, the model has %v", p, err, n)
	}
	if n == nil {
		return
	}
	want := n.Entry
	want.Path, want.Size = p, 0
	if want.Type == Regular {
		want.Size = int64(len(n.content))
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Fatalf("stat %q (-want +got):\n%s", p, diff)
	}
}

func drawPath(t *rapid.T, label string) string {
	name := rapid.SampledFrom([]string{"a", "b", "c", "\xff\n", strings.Repeat("n", 255)})
	return path.Join(rapid.SliceOfN(name, 1, 3).Draw(t, label)...)
}

func drawEntry(t *rapid.T) (Entry, string) {
	e := Entry{
		Path: drawPath(t, "path"), Type: rapid.SampledFrom([]Type{0, 0, 0, 1, 1, 2, 3, 4, 5, 6}).Draw(t, "type"),
		Mode: rapid.Uint16Range(0, 0o7777).Draw(t, "mode"), UID: rapid.Uint32().Draw(t, "uid"), GID: rapid.Uint32().Draw(t, "gid"),
		ModTime: time.Unix(rapid.Int64Range(minTime, maxTime).Draw(t, "sec"), rapid.Int64Range(0, 999999999).Draw(t, "nsec")),
		Xattrs:  drawXattrs(t),
	}
	content := ""
	switch e.Type {
	case Regular:
		for range rapid.IntRange(0, 4).Draw(t, "parts") {
			n := rapid.IntRange(0, 150000).Draw(t, "bytes")
			content += strings.Repeat(rapid.SampledFrom([]string{"\x00", "x", "yz"}).Draw(t, "fill"), n)
		}
	case Symlink:
		e.Linkname = strings.Repeat("t", rapid.SampledFrom([]int{1, 59, 60, 4095}).Draw(t, "target"))
		content = e.Linkname
	case CharDevice, BlockDevice:
		e.Major, e.Minor = rapid.Uint32Range(1, 4095).Draw(t, "major"), rapid.Uint32Range(0, 1<<20-1).Draw(t, "minor")
	}
	return e, content
}

func drawXattrs(t *rapid.T) map[string][]byte {
	names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{
		"user.a", "user.\xc3\xa9", "trusted.overlay.opaque", "security.capability", "user." + strings.Repeat("n", 255),
	}), 0, 4, rapid.ID[string]).Draw(t, "xattrs")
	if len(names) == 0 {
		return nil
	}
	out := make(map[string][]byte)
	for _, name := range names {
		size := rapid.SampledFrom([]int{0, 1, 20, 64, 500}).Draw(t, "value")
		out[name] = bytes.Repeat([]byte{'v'}, size)
	}
	return out
}
