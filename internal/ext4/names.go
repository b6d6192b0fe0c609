package ext4

import (
	"fmt"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
)

// Link makes path another name of target, which must exist and not be a directory, in place of what is there.
func (w *Writer) Link(path, target string) error {
	if err := w.link(path, target); err != nil {
		return fmt.Errorf("link %q to %q: %w", path, target, err)
	}
	return nil
}

func (w *Writer) link(path, target string) error {
	if err := w.usable(); err != nil {
		return err
	}
	path, err := checkPath(path)
	if err != nil {
		return err
	}
	if target, err = checkPath(target); err != nil {
		return err
	}
	ino, ok := w.find(target)
	if !ok {
		return errdefs.New(errdefs.ErrInvalid, "the target does not exist")
	}
	n := w.nodes.get(ino)
	if n.dir != nil {
		return errdefs.New(errdefs.ErrInvalid, "the target is a directory")
	}
	if old, ok := w.find(path); ok && old == ino {
		return nil
	}
	if n.links >= maxFileLinks {
		return errdefs.New(errdefs.ErrInvalid, "the target has %d names already", n.links)
	}
	if path == "" {
		return errdefs.New(errdefs.ErrInvalid, "the root must be a directory")
	}
	dir, name, err := w.parent(path)
	if err != nil {
		return err
	}
	n.links++ // before detach, which might remove the target's only name with a directory
	names := w.nodes.get(dir).dir.names
	if _, ok := names[name]; ok {
		w.detach(dir, name)
	}
	names[strings.Clone(name)] = link{ino, w.layer}
	return nil
}

// Remove removes what is at path, with all below it. Its blocks are used again, or given back by Close. Of the root, it removes the content.
// What does not exist is an error of class ErrNotFound.
func (w *Writer) Remove(path string) error {
	if err := w.remove(path); err != nil {
		return fmt.Errorf("remove %q: %w", path, err)
	}
	return nil
}

func (w *Writer) remove(path string) error {
	if err := w.usable(); err != nil {
		return err
	}
	p, err := checkPath(path)
	if err != nil {
		return err
	}
	ino, ok := w.find(p)
	if !ok {
		return errdefs.New(errdefs.ErrNotFound, "no such file")
	}
	if p != "" {
		dir, name := w.findParent(p)
		w.detach(dir, name)
		return nil
	}
	for _, name := range w.nodes.get(ino).dir.sorted() {
		w.detach(ino, name)
	}
	return nil
}
