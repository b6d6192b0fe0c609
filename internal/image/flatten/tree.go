package flatten

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/ext4"
)

const (
	workDir  = "root" // what is below goes to the seed
	maxLinks = 40     // symbolic links followed in one path, as the kernel
)

// tree is the image's name space: the root file system, with the work seed mounted on /root.
type tree struct {
	rootfs *ext4.Writer
	seed   *ext4.Writer // nil: none

	invented bool // /root is there only because it must: no entry tells of it, or of anything in it
}

// location is a place in a tree.
type location struct {
	path    string // in its file system
	seed    bool   // whether that is the seed
	workDir bool   // /root itself: a directory in the root file system and the root of the seed
}

// full returns the path in the whole tree.
func (l location) full() string {
	if l.seed {
		return path.Join(workDir, l.path)
	}
	return l.path
}

func newTree(rootfs, seed *os.File, o Options) (*tree, error) {
	w, err := ext4.NewWriter(rootfs, ext4.Options{ReadOnly: true, Label: "banger-rootfs", Epoch: o.Epoch, Inodes: inodes(o.Limits)})
	if err != nil {
		return nil, fmt.Errorf("make root file system: %w", err)
	}
	t := &tree{rootfs: w}
	if seed == nil {
		return t, nil
	}
	size := o.SeedSize
	if size == 0 {
		size = DefaultSeedSize
	}
	t.seed, err = ext4.NewWriter(seed, ext4.Options{Size: size, Journal: true, Label: "banger-root", Epoch: o.Epoch})
	if err != nil {
		return nil, fmt.Errorf("make work seed: %w", err)
	}
	return t, t.makeWorkDir()
}

func (t *tree) nextLayer() {
	t.rootfs.NextLayer()
	if t.seed != nil {
		t.seed.NextLayer()
	}
}

// dropLinkStore removes what only served to be linked to.
func (t *tree) dropLinkStore() error {
	if _, ok := t.rootfs.Type(linkStore); !ok {
		return nil
	}
	return t.rootfs.Remove(linkStore)
}

// close completes both file systems.
func (t *tree) close() error {
	if err := t.rootfs.Close(); err != nil {
		return fmt.Errorf("root file system: %w", err)
	}
	if t.seed == nil {
		return nil
	}
	if err := t.seed.Close(); err != nil {
		return fmt.Errorf("work seed: %w", err)
	}
	return nil
}

func (t *tree) writer(at location) *ext4.Writer {
	if at.seed {
		return t.seed
	}
	return t.rootfs
}

// locate returns where p is, which has no symbolic links on its way.
func (t *tree) locate(p string) location {
	if t.seed != nil {
		if p == workDir {
			return location{path: p, workDir: true}
		}
		if below, ok := strings.CutPrefix(p, workDir+"/"); ok {
			return location{path: below, seed: true}
		}
	}
	return location{path: p}
}

// resolve follows the symbolic links among p's parents, the way the kernel would in a process whose root is the tree.
// What does not exist is taken as a directory that will be made.
func (t *tree) resolve(p string) (location, error) {
	dir, base := path.Split(p)
	rest, done, links := strings.TrimSuffix(dir, "/"), "", 0
	for rest != "" {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		switch name {
		case "", ".":
			continue
		case "..":
			done = parentOf(done)
			continue
		}
		next := path.Join(done, name)
		at := t.locate(next)
		if kind, ok := t.writer(at).Type(at.path); !ok || kind != ext4.Symlink {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return location{}, errdefs.New(errdefs.ErrInvalid, "too many symbolic links on the way to %q", p)
		}
		e, err := t.writer(at).Stat(at.path)
		if err != nil {
			return location{}, err
		}
		if strings.HasPrefix(e.Linkname, "/") {
			done = ""
		}
		rest = e.Linkname + "/" + rest
		if len(rest) > 2*maxPath {
			return location{}, tooLong(p)
		}
	}
	if done = path.Join(done, base); len(done) > maxPath {
		return location{}, tooLong(p)
	}
	return t.locate(done), nil
}

func tooLong(p string) error {
	return errdefs.New(errdefs.ErrInvalid, "symbolic links on the way to %q make it too long", p)
}

func parentOf(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return ""
}

// add puts e at a place.
func (t *tree) add(at location, e ext4.Entry, content io.Reader) error {
	if err := t.inhabit(at); err != nil {
		return err
	}
	e.Path = at.path
	if err := t.writer(at).Add(e, content); err != nil {
		return err
	}
	if !at.workDir {
		return nil
	}
	t.invented = false
	e.Path = ""
	return t.seed.Add(e, nil)
}

// link makes at another name of target, which is in the same file system.
func (t *tree) link(at, target location) error {
	if err := t.inhabit(at); err != nil {
		return err
	}
	return t.writer(at).Link(at.path, target.path)
}

// copyFile makes at a copy of target, which is in the other file system, when it has at most limit bytes. It adds the
// size of the copy to total.
func (t *tree) copyFile(at, target location, limit int64, total *int64) error {
	from := t.writer(target)
	e, err := from.Stat(target.path)
	if err != nil {
		return errdefs.As(errdefs.ErrInvalid, fmt.Errorf("link target: %w", err))
	}
	if e.Type == ext4.Directory {
		return errdefs.New(errdefs.ErrInvalid, "link target %q is a directory", target.path)
	}
	if e.Size > limit {
		return errdefs.New(errdefs.ErrInvalid, "a copy of %q makes the archive's files too large", target.path)
	}
	*total += e.Size
	var content io.Reader
	if e.Type == ext4.Regular {
		if content, err = from.Open(target.path); err != nil {
			return err
		}
	}
	return t.add(at, e, content)
}
