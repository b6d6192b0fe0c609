package ext4

import (
	"path"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
)

// checkPath returns p with the root as "".
func checkPath(p string) (string, error) {
	if p == "" || p == "." {
		return "", nil
	}
	if p != path.Clean(p) || p[0] == '/' || p == ".." || strings.HasPrefix(p, "../") || strings.Contains(p, "\x00") {
		return "", errdefs.New(errdefs.ErrInvalid, "path %q is not clean and relative", p)
	}
	for name := range strings.SplitSeq(p, "/") {
		if len(name) > maxName {
			return "", errdefs.New(errdefs.ErrInvalid, "name %q is longer than %d bytes", name, maxName)
		}
	}
	return p, nil
}

// find returns the inode at p, which is checked.
func (w *Writer) find(p string) (uint32, bool) {
	ino := uint32(rootIno)
	if p == "" {
		return ino, true
	}
	for name := range strings.SplitSeq(p, "/") {
		d := w.nodes.get(ino).dir
		if d == nil {
			return 0, false
		}
		next, ok := d.names[name]
		if !ok {
			return 0, false
		}
		ino = next.ino
	}
	return ino, true
}

// findParent returns the directory that p, which exists and is not the root, is in, and p's last name.
func (w *Writer) findParent(p string) (uint32, string) {
	dir, name := path.Split(p)
	ino, _ := w.find(strings.TrimSuffix(dir, "/"))
	return ino, name
}

// parent returns the directory that p, checked and not the root, is in, and p's last name, for something that is to be
// put there. Missing directories are made.
func (w *Writer) parent(p string) (uint32, string, error) {
	ino := uint32(rootIno)
	rest := p
	for {
		name, after, more := strings.Cut(rest, "/")
		if !more {
			return ino, name, nil
		}
		next, ok := w.nodes.get(ino).dir.names[name]
		if !ok {
			n := node{mode: modeDir | 0o755, kind: Directory}
			n.setTime(w.o.Epoch, w.o.Epoch)
			var err error
			if next.ino, err = w.attach(ino, name, n); err != nil {
				return 0, "", err
			}
			next.layer = w.layer
		}
		if w.nodes.get(next.ino).dir == nil {
			return 0, "", errdefs.New(errdefs.ErrInvalid, "%q is not a directory", strings.TrimSuffix(p, "/"+after))
		}
		if next.layer != w.layer {
			w.touch(ino, name)
		}
		ino, rest = next.ino, after
	}
}

// attach puts a new node into the directory dir, where name must be free.
func (w *Writer) attach(dir uint32, name string, n node) (uint32, error) {
	if n.kind == Directory {
		n.dir = newDirectory(dir, w.layer)
	} else {
		n.links = 1
	}
	if uint64(w.nodes.next()) > w.maxInodes {
		return 0, errdefs.New(errdefs.ErrExhausted, "no free inode in a file system of %d", w.maxInodes)
	}
	ino := w.nodes.put(n)
	parent := w.nodes.get(dir).dir
	if n.kind == Directory {
		parent.subdirs++
	}
	parent.names[strings.Clone(name)] = link{ino, w.layer} // not a part of a whole path, which would stay in memory
	return ino, nil
}

// detach removes name from the directory dir, with all below it.
func (w *Writer) detach(dir uint32, name string) {
	d := w.nodes.get(dir).dir
	ino := d.names[name].ino
	n := w.nodes.get(ino)
	if n.dir != nil {
		for _, child := range n.dir.sorted() { // sorted, because freed inodes are used again in that order
			w.detach(ino, child)
		}
		d.subdirs--
	}
	delete(d.names, name)
	if n.links > 1 {
		n.links--
		return
	}
	w.discardNode(n)
	w.nodes.drop(ino)
}

// discardNode frees the blocks of n.
func (w *Writer) discardNode(n *node) {
	for _, e := range n.extents() {
		w.release(run{e.start, uint64(e.n)})
	}
	n.setExtents(nil)
	w.dropAttrs(n.attrs)
}

// release frees blocks. What is in them stays until they are used again, or until [Writer.scrub].
func (w *Writer) release(r run) {
	w.alloc.free(r)
	w.released = max(w.released, r.start+r.n)
}

// scrub makes the blocks that were released and are still free read as zeros, and gives their space back to the host
// where it can.
func (w *Writer) scrub() error {
	for from := uint64(0); from < w.released; {
		r, ok := w.alloc.find(from, min(w.released-from, blocksPerGroup))
		if !ok || r.start >= w.released {
			return nil
		}
		if err := w.dev.discard(r.start, r.n); err != nil {
			return err
		}
		from = r.start + r.n
	}
	return nil
}
