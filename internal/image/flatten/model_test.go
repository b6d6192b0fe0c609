package flatten

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/banger-dev/banger/internal/ext4/ext4test"
)

// node is a file of the model. Hard links share one.
type node struct {
	item
	invented bool // a parent that no entry told of
}

func (n *node) is(flag byte) bool { return n != nil && n.Typeflag == flag }

// model applies layers in the simplest way: to a map of full paths. It is what the specification says, once more.
type model struct {
	files   map[string]*node
	touched map[string]bool // by the present layer
}

func newModel() *model {
	return &model{files: map[string]*node{"": inventedDir()}}
}

func inventedDir() *node {
	return &node{item{Header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755, ModTime: time.Unix(0, 0)}}, true}
}

// apply returns whether the present layer can have this entry.
func (m *model) apply(i item) bool {
	p := strings.Trim(path.Clean("/"+i.Name), "/")
	dir, base := path.Split(p)
	switch {
	case base == ".wh..wh..opq":
		full, ok := m.resolve(dir + "x")
		if ok {
			m.hide(parentOf(full), true)
		}
		return ok
	case strings.HasPrefix(base, ".wh."):
		full, ok := m.resolve(dir + base[4:])
		if ok = ok && base[4:] != "." && base[4:] != ""; ok {
			m.hide(full, false)
		}
		return ok
	}
	full, ok := m.resolve(p)
	if !ok {
		return false
	}
	if i.Typeflag == tar.TypeLink {
		return m.link(full, i.Linkname)
	}
	return m.add(full, &node{item: i})
}

// resolve follows links among the parents of p.
func (m *model) resolve(p string) (string, bool) {
	todo, done := strings.Split(p, "/"), ""
	for links := 0; len(todo) > 1; {
		name := todo[0]
		todo = todo[1:]
		if name == "" || name == "." {
			continue
		}
		if name == ".." {
			done = parentOf(done)
			continue
		}
		next := path.Join(done, name)
		n := m.files[next]
		if !n.is(tar.TypeSymlink) {
			done = next
			continue
		}
		if links++; links > 40 {
			return "", false
		}
		if strings.HasPrefix(n.Linkname, "/") {
			done = ""
		}
		todo = append(strings.Split(n.Linkname, "/"), todo...)
	}
	return path.Join(done, todo[0]), true
}

func (m *model) add(p string, n *node) bool {
	if p == workDir || p == "" {
		if n.Typeflag != tar.TypeDir {
			return false
		}
	}
	if p != "" && !m.makeParents(p) {
		return false
	}
	if !m.files[p].is(tar.TypeDir) || n.Typeflag != tar.TypeDir {
		m.remove(p)
	}
	m.files[p] = n
	m.touch(p)
	return true
}

func (m *model) makeParents(p string) bool {
	for i, c := range []byte(p) {
		if c != '/' {
			continue
		}
		if m.files[p[:i]] == nil {
			m.files[p[:i]] = inventedDir()
		}
		if !m.files[p[:i]].is(tar.TypeDir) {
			return false
		}
	}
	return true
}

func (m *model) link(p, linkname string) bool {
	target, ok := m.resolve(strings.Trim(path.Clean("/"+linkname), "/"))
	n := m.files[target]
	if !ok || n == nil || n.is(tar.TypeDir) || target == p || strings.HasPrefix(target, p+"/") || p == workDir {
		return false
	}
	if inSeed(p) != inSeed(target) {
		n = &node{item: n.item}
	}
	return m.add(p, n)
}

func inSeed(p string) bool { return strings.HasPrefix(p, workDir+"/") }

func (m *model) hide(p string, inside bool) {
	for k := range m.files {
		if !m.touched[k] && (k == p && !inside || below(k, p)) {
			delete(m.files, k)
		}
	}
}

func (m *model) remove(p string) {
	for k := range m.files {
		if k == p || below(k, p) {
			delete(m.files, k)
		}
	}
}

func below(k, p string) bool { return k != "" && (p == "" || strings.HasPrefix(k, p+"/")) }

func (m *model) touch(p string) {
	for ; p != ""; p = parentOf(p) {
		m.touched[p] = true
	}
}

// expect returns what a reader of the two file systems should see.
func (m *model) expect() map[string]ext4test.File {
	if m.files[workDir] == nil {
		m.files[workDir] = inventedDir()
		m.files[workDir].Mode = 0o700
	}
	links := make(map[*node]uint16)
	for p, n := range m.files {
		links[n]++
		if n.Typeflag == tar.TypeDir {
			links[n]++
			if p != "" {
				links[m.files[parentOf(p)]]++
			}
		}
	}
	out := make(map[string]ext4test.File)
	for p, n := range m.files {
		f := n.expect()
		f.Links = links[n]
		if p != "" {
			p = "/" + p
		}
		out[p] = f
	}
	return out
}

var modeOf = map[byte]uint16{
	tar.TypeReg: 0o100000, tar.TypeDir: 0o040000, tar.TypeSymlink: 0o120000,
	tar.TypeChar: 0o020000, tar.TypeBlock: 0o060000, tar.TypeFifo: 0o010000,
}

func (n *node) expect() ext4test.File {
	f := ext4test.File{
		Mode: modeOf[n.Typeflag] | uint16(n.Mode), UID: uint32(n.Uid), GID: uint32(n.Gid),
		Sec: n.ModTime.Unix(), Nsec: uint32(n.ModTime.Nanosecond()), Content: n.content, Xattrs: make(map[string]string),
	}
	switch n.Typeflag {
	case tar.TypeSymlink:
		f.Content = n.Linkname
		f.Mode = 0o120777
	case tar.TypeChar, tar.TypeBlock:
		f.Dev = fmt.Sprintf("%d:%d", n.Devmajor, n.Devminor)
	}
	f.Size = int64(len(f.Content))
	for k, v := range n.PAXRecords {
		if name, ok := strings.CutPrefix(k, schilyXattr); ok {
			f.Xattrs[name] = v
		}
	}
	return f
}

// stack is some layers, and what comes of them.
type stack struct {
	layers   [][]item
	want     map[string]ext4test.File
	invented []string // directories that no entry tells of
}

// GoString is what rapid shows.
func (s stack) GoString() string {
	var b strings.Builder
	for i, layer := range s.layers {
		fmt.Fprintf(&b, "layer %d:\n", i)
		for _, it := range layer {
			fmt.Fprintf(&b, "  %c %q -> %q %o %v, %d bytes\n", it.Typeflag, it.Name, it.Linkname, it.Mode, it.ModTime.Unix(), len(it.content))
		}
	}
	return b.String()
}

// drawStack draws layers that can be applied.
func drawStack(t *rapid.T) stack {
	m := newModel()
	layers := make([][]item, rapid.IntRange(1, 5).Draw(t, "layers"))
	for i := range layers {
		m.touched = make(map[string]bool)
		for range rapid.IntRange(0, 14).Draw(t, "entries") {
			before := maps.Clone(m.files)
			it := drawItem(t)
			if !m.apply(it) {
				m.files = before
				continue
			}
			layers[i] = append(layers[i], it)
		}
	}
	return m.stack(layers)
}

// stack returns the layers that were applied, and the result.
func (m *model) stack(layers [][]item) stack {
	s := stack{layers: layers, want: m.expect()}
	for p, n := range m.files {
		if n.invented && p != "" {
			s.invented = append(s.invented, "/"+p)
		}
	}
	return s
}

func drawItem(t *rapid.T) item {
	flag := rapid.SampledFrom([]byte("0000000000555551111222223466wwwwwoooo")).Draw(t, "type")
	p := drawPath(t, "path")
	switch flag {
	case 'w':
		dir, base := path.Split(p)
		return file(dir+".wh."+base, "")
	case 'o':
		return file(rapid.SampledFrom([]string{p + "/", ""}).Draw(t, "of")+".wh..wh..opq", "")
	}
	name := rapid.SampledFrom([]string{"", "", "./", "/"}).Draw(t, "prefix") + p
	i := item{Header: tar.Header{
		Name: name, Typeflag: flag, Format: tar.FormatPAX, Mode: rapid.Int64Range(0, 0o7777).Draw(t, "mode"),
		Uid: rapid.SampledFrom([]int{0, 1000, 100000, 1 << 31}).Draw(t, "uid"), Gid: rapid.IntRange(0, 70000).Draw(t, "gid"),
		ModTime: time.Unix(rapid.SampledFrom([]int64{1234567890, -86400, 8000000000}).Draw(t, "sec"), rapid.Int64Range(0, 999999999).Draw(t, "nsec")),
	}}
	switch flag {
	case tar.TypeReg:
		n := rapid.SampledFrom([]int{0, 1, 100, 4096, 70000}).Draw(t, "size")
		i.content = strings.Repeat(rapid.SampledFrom([]string{"x", "\x00", "yz"}).Draw(t, "fill"), n)
		i.Size = int64(len(i.content))
		i.PAXRecords = drawXattrs(t, &i, xattrsOfFiles)
	case tar.TypeDir:
		i.Name += rapid.SampledFrom([]string{"", "/"}).Draw(t, "suffix")
		i.PAXRecords = drawXattrs(t, &i, xattrsOfDirs)
	case tar.TypeLink:
		i.Linkname = drawPath(t, "target")
	case tar.TypeSymlink:
		up := rapid.SampledFrom([]string{"", "/", "../", "../../../"}).Draw(t, "up")
		i.Linkname = up + drawPath(t, "target")
	case tar.TypeChar, tar.TypeBlock:
		i.Devmajor, i.Devminor = rapid.Int64Range(1, 4095).Draw(t, "major"), rapid.Int64Range(0, 1<<20-1).Draw(t, "minor")
	}
	return i
}

func drawPath(t *rapid.T, label string) string {
	name := rapid.SampledFrom([]string{"a", "a", "b", "b", "lib", "lib", "root", "root", "\xff\xfe", strings.Repeat("n", 255)})
	return path.Join(rapid.SliceOfN(name, 1, 3).Draw(t, label)...)
}

// An access ACL changes the mode, so that only one is used: rwxr-x--- with a user who may read.
var (
	testACL = packACL(7, 4, 7, 0)

	xattrsOfDirs = map[string]string{
		"user.a": "value", "user.\xc3\xa9": "e", "trusted.t": "t\x00t", "user.big": strings.Repeat("b", 2000),
		aclDefault: packACL(6, 4, 6, 4), aclAccess: testACL,
	}
	xattrsOfFiles = map[string]string{
		"user.a": "value", "trusted.t": "t\x00t", "user.big": strings.Repeat("b", 2000), aclAccess: testACL,
		"security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
	}
)

// packACL is an ACL with a named user, in the form of system calls.
func packACL(owner, user, mask, other uint16) string {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, owner, aclNoID}, {2, user, 1000}, {4, 5, aclNoID}, {16, mask, aclNoID}, {32, other, aclNoID}} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return string(b)
}

func drawXattrs(t *rapid.T, i *item, from map[string]string) map[string]string {
	out := make(map[string]string)
	for range rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3}).Draw(t, "xattrs") {
		name := rapid.SampledFrom(sortedKeys(from)).Draw(t, "xattr")
		out[schilyXattr+name] = from[name]
		if name == aclAccess {
			i.Mode = i.Mode&^0o777 | 0o770
		}
	}
	return out
}

// merged makes the two file systems, which must be correct, and reads them as one tree.
func merged(t failer, archives [][]byte) map[string]ext4test.File {
	rootfs, seed, err := mergeFiles(t, archives)
	if err != nil {
		t.Fatal(err)
	}
	e2fsck(t, rootfs, seed)
	return readBoth(t, rootfs, seed)
}

// readBoth reads two file systems as one tree.
func readBoth(t failer, rootfs, seed *os.File) map[string]ext4test.File {
	defer rootfs.Close()
	defer seed.Close()
	out := ext4test.Open(rootfs).Walk()
	mountPoint := out["/root"]
	for p, f := range ext4test.Open(seed).Walk() {
		out["/root"+p] = f
	}
	mountPoint.Links, mountPoint.Ino = out["/root"].Links, out["/root"].Ino
	if diff := cmp.Diff(out["/root"], mountPoint); diff != "" {
		t.Fatalf("/root and the root of the seed differ: %s", diff)
	}
	for p, f := range out {
		f.Ino = 0
		out[p] = f
	}
	return out
}

func openers(archives [][]byte) []Layer {
	var layers []Layer
	for i, data := range archives {
		layers = append(layers, Layer{Name: fmt.Sprint("layer ", i), Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(data)), nil
		}})
	}
	return layers
}

// TestLayersAgainstModel merges random layers.
func TestLayersAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := rapid.Custom(drawStack).Draw(rt, "stack")
		if diff := cmp.Diff(s.want, merged(inDir{rt, t.TempDir()}, archives(t, s.layers...))); diff != "" {
			rt.Fatalf("(-model +image):\n%s", diff)
		}
	})
}

// stackOf applies layers that are known to be good.
func stackOf(t testing.TB, layers [][]item) stack {
	t.Helper()
	m := newModel()
	for n, items := range layers {
		m.touched = make(map[string]bool)
		for _, i := range items {
			if !m.apply(i) {
				t.Fatalf("the model refuses %q of layer %d", i.Name, n)
			}
		}
	}
	return m.stack(layers)
}

// namedStacks are all layers with a name, for comparison.
func namedStacks(t testing.TB) map[string]stack {
	out := make(map[string]stack)
	for name, layers := range attributeLayers() {
		out[name] = stackOf(t, layers)
	}
	for name, c := range namedLayers() {
		if c.alone == "" {
			out[name] = stackOf(t, c.layers)
		}
	}
	return out
}

func TestNamedLayersAgainstModel(t *testing.T) {
	for name, s := range namedStacks(t) {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(s.want, merged(t, archives(t, s.layers...))); diff != "" {
				t.Fatalf("(-model +image):\n%s", diff)
			}
		})
	}
}
