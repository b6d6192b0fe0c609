package ext4

import (
	"fmt"
	"strings"
)

// NextLayer begins a new layer. [Writer.RemoveOlder] tells what was put into the file system before from what was put
// there since.
func (w *Writer) NextLayer() { w.layer++ }

// RemoveOlder removes what earlier layers put at path and below it, or with inside only below it. What the present
// layer put there stays, and so do the directories on the way to it. It is not an error when nothing is at path.
func (w *Writer) RemoveOlder(path string, inside bool) error {
	if err := w.removeOlder(path, inside); err != nil {
		return fmt.Errorf("remove %q of earlier layers: %w", path, err)
	}
	return nil
}

func (w *Writer) removeOlder(path string, inside bool) error {
	if err := w.usable(); err != nil {
		return err
	}
	p, err := checkPath(path)
	if err != nil {
		return err
	}
	ino, ok := w.find(p)
	if !ok {
		return nil
	}
	if p != "" && !inside {
		dir, name := w.findParent(p)
		if w.nodes.get(dir).dir.names[name].layer != w.layer {
			w.detach(dir, name)
			return nil
		}
	}
	w.emptyOlder(ino)
	return nil
}

// emptyOlder removes what earlier layers put into ino, if that is a directory. Each directory is looked through at
// most once a layer, however often an archive asks for it.
func (w *Writer) emptyOlder(ino uint32) {
	d := w.nodes.get(ino).dir
	if d == nil || d.fresh == w.layer {
		return
	}
	for _, name := range d.sorted() { // sorted, because freed inodes are used again in that order
		if child := d.names[name]; child.layer == w.layer {
			w.emptyOlder(child.ino)
		} else {
			w.detach(ino, name)
		}
	}
	d.fresh = w.layer
}

// touch notes that the present layer put something at or below a name.
func (w *Writer) touch(dir uint32, name string) {
	names := w.nodes.get(dir).dir.names
	names[strings.Clone(name)] = link{names[name].ino, w.layer}
}
