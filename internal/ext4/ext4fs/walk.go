package ext4fs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/ext4"
)

const (
	maxEntries = 4 << 20   // names in one walk
	maxHeld    = 256 << 20 // bytes of what a walk must remember, about
	maxPath    = 4096      // bytes, as the kernel's PATH_MAX
	perName    = 32        // bytes that a name costs besides itself
)

// Walk calls visit for the directory dir of the file system, as "", and for all below it, with paths relative to dir: a
// directory before what is in it, that in the order of names' bytes. The order does not depend on how the file system
// was made. When visit returns [fs.SkipDir] for a directory, what is in it is left out. ctx ends the walk.
func (f *FS) Walk(ctx context.Context, dir string, visit func(*File) error) error {
	n, err := f.lookup(dir)
	if err != nil {
		return fmt.Errorf("walk %q: %w", dir, err)
	}
	if n.kind != ext4.Directory {
		return errdefs.New(errdefs.ErrInvalid, "walk %q: it is not a directory", dir)
	}
	w := &walk{fs: f, visit: visit, seen: make(map[uint32]string)}
	if err := w.enter("", n); err != nil && !errors.Is(err, fs.SkipDir) {
		return err
	}
	for len(w.stack) > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := w.step(); err != nil {
			return err
		}
	}
	return nil
}

// walk is the state of a walk.
type walk struct {
	fs      *FS
	visit   func(*File) error
	stack   []level
	seen    map[uint32]string // directories, and the first names of what has several
	entries int
	held    int
	blocks  uint64 // that belong to what was visited
}

// level is a directory and what is left of it.
type level struct {
	path  string
	names []dirent
	held  int
}

type dirent struct {
	name string
	ino  uint32
}

// step goes on with the next name of the deepest directory.
func (w *walk) step() error {
	top := &w.stack[len(w.stack)-1]
	if len(top.names) == 0 {
		w.held -= top.held
		w.stack = w.stack[:len(w.stack)-1]
		return nil
	}
	next := top.names[0]
	top.names = top.names[1:]
	p := path.Join(top.path, next.name)
	if len(p) > maxPath {
		return damaged("walk: the path %q... is longer than %d bytes", p[:64], maxPath)
	}
	n, err := w.fs.inode(next.ino)
	if err != nil {
		return fmt.Errorf("walk %q: %w", p, err)
	}
	if n.kind == ext4.Directory {
		err := w.enter(p, n)
		if errors.Is(err, fs.SkipDir) {
			return nil
		}
		return err
	}
	return w.leaf(p, n)
}

// leaf visits what is not a directory.
func (w *walk) leaf(p string, n *inode) error {
	first, again := w.seen[n.ino]
	if !again {
		if err := w.claim(p, n); err != nil {
			return err
		}
		if n.links > 1 {
			if err := w.hold(len(p)); err != nil {
				return err
			}
			w.seen[n.ino] = p
		}
	}
	file, err := w.fs.file(p, n)
	if err != nil {
		return err
	}
	file.First = first
	return w.visit(file)
}

// enter visits a directory and reads what is in it.
func (w *walk) enter(p string, n *inode) error {
	if _, again := w.seen[n.ino]; again {
		return damaged("walk %q: the directory is in two places", p)
	}
	w.seen[n.ino] = ""
	if err := errors.Join(w.claim(p, n), w.hold(0)); err != nil {
		return err
	}
	file, err := w.fs.file(p, n)
	if err != nil {
		return err
	}
	if err := w.visit(file); err != nil {
		return err
	}
	before := w.held
	names, err := w.read(n)
	if err != nil {
		return fmt.Errorf("walk %q: %w", p, err)
	}
	w.stack = append(w.stack, level{p, names, w.held - before})
	return nil
}

// read returns the sorted names in a directory.
func (w *walk) read(n *inode) ([]dirent, error) {
	var names []dirent
	err := w.fs.names(n, func(name string, ino uint32) error {
		if w.entries++; w.entries > maxEntries {
			return damaged("more than %d entries", maxEntries)
		}
		names = append(names, dirent{name, ino})
		return w.hold(len(name))
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(names, func(a, b dirent) int { return cmp.Or(strings.Compare(a.name, b.name), cmp.Compare(a.ino, b.ino)) })
	for i := range len(names) - 1 {
		if names[i].name == names[i+1].name {
			return nil, damaged("the name %q is there twice", names[i].name)
		}
	}
	return names, nil
}

// hold accounts for a name that must be remembered.
func (w *walk) hold(size int) error {
	if w.held += size + perName; w.held > maxHeld {
		return damaged("walk: the directories are too large")
	}
	return nil
}

// claim accounts for the blocks of n. No two files share any, so there cannot be more than the file system has.
func (w *walk) claim(p string, n *inode) error {
	if w.blocks += n.own(); w.blocks > w.fs.super.blocks {
		return damaged("walk %q: its blocks and those of others are more than the file system has", p)
	}
	return nil
}
