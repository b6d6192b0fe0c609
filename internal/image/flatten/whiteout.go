package flatten

import (
	"archive/tar"
	"path"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
)

const (
	whiteoutPrefix = ".wh."         // the rest of the name is hidden
	opaqueName     = ".wh..wh..opq" // all that is in the directory is hidden
	aufsPrefix     = ".wh..wh."     // of other names: the bookkeeping of aufs, which some old images have

	// linkStore is where aufs keeps the files that hard links in the same layer lead to.
	linkStore = ".wh..wh.plnk"
)

// markKind is what a name means.
type markKind int

const (
	plain markKind = iota
	whiteout
	opaque
	stored  // in linkStore
	ignored // bookkeeping
)

// mark is the meaning of an entry's name. Whiteouts hide only what lower layers have, wherever in their layer they
// stand.
type mark struct {
	kind markKind
	path string // of what is hidden or, if opaque, of the directory
}

// parseMark returns what the clean path p means. Because of whiteouts, no image can have a name that begins with
// ".wh.".
func parseMark(p string) (mark, error) {
	if !strings.Contains(p, whiteoutPrefix) {
		return mark{kind: plain}, nil
	}
	dir, base := path.Split(p)
	dir = strings.TrimSuffix(dir, "/")
	if dir == linkStore {
		return mark{kind: stored}, nil
	}
	for name := range strings.SplitSeq(dir, "/") {
		if strings.HasPrefix(name, aufsPrefix) {
			return mark{kind: ignored}, nil
		}
		if strings.HasPrefix(name, whiteoutPrefix) {
			return mark{}, errdefs.New(errdefs.ErrInvalid, "%q marks a whiteout and cannot be a directory", name)
		}
	}
	hidden, ok := strings.CutPrefix(base, whiteoutPrefix)
	switch {
	case !ok:
		return mark{kind: plain}, nil
	case base == opaqueName:
		return mark{opaque, dir}, nil
	case strings.HasPrefix(base, aufsPrefix):
		return mark{kind: ignored}, nil
	case hidden == "" || hidden == "." || hidden == "..":
		return mark{}, errdefs.New(errdefs.ErrInvalid, "a whiteout of no name")
	}
	return mark{whiteout, path.Join(dir, hidden)}, nil
}

// isFile reports whether the entry is to be added, as what its header says.
func (k mark) isFile(h *tar.Header) bool {
	return k.kind == plain || k.kind == stored && h.Typeflag == tar.TypeReg
}

// apply hides what a mark says.
func (m *merge) apply(k mark) error {
	switch k.kind {
	case whiteout:
		at, err := m.tree.resolve(k.path)
		if err != nil {
			return err
		}
		return m.tree.hide(at, false)
	case opaque:
		at, err := m.tree.resolve(path.Join(k.path, opaqueName)) // follows links up to the directory itself
		if err != nil {
			return err
		}
		return m.tree.hide(m.tree.locate(parentOf(at.full())), true)
	default:
		return nil
	}
}
