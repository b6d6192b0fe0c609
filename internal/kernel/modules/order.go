package modules

import (
	"slices"

	"github.com/banger-dev/banger/internal/errdefs"
)

// LoadOrder returns the modules that make all wanted names available, each after those that it needs. Names that are
// built into the kernel need nothing. Names that are neither are returned as missing.
//
// Soft dependencies (`softdep pre:`) are followed where they can be, also through aliases: ext4 names crc32c so, and a
// file system with checksums does not mount without it.
func (t *Tree) LoadOrder(wanted []string) (order []*Module, missing []string, err error) {
	w := walk{tree: t, state: map[*Module]visitState{}}
	for _, name := range wanted {
		name = normalize(name)
		m, ok := t.byName[name]
		switch {
		case ok:
			if err := w.visit(m); err != nil {
				return nil, nil, err
			}
		case !t.builtin[name]:
			missing = append(missing, name)
		}
	}
	return w.order, missing, nil
}

type visitState int

const (
	visiting visitState = iota + 1
	visited
)

type walk struct {
	tree  *Tree
	state map[*Module]visitState
	order []*Module
}

// visit appends what m needs, then m. Chains are as long as the tree has modules at most; real ones have a dozen.
func (w *walk) visit(m *Module) error {
	switch w.state[m] {
	case visited:
		return nil
	case visiting:
		return errdefs.New(errdefs.ErrInvalid, "module %s depends on itself", m.Path)
	}
	w.state[m] = visiting
	for _, soft := range w.tree.soft(m) {
		if w.state[soft] == visiting {
			continue // modprobe, too, drops a soft dependency that closes a circle
		}
		if err := w.visit(soft); err != nil {
			return err
		}
	}
	if err := w.hard(m); err != nil {
		return err
	}
	w.state[m] = visited
	w.order = append(w.order, m)
	return nil
}

func (w *walk) hard(m *Module) error {
	for _, name := range m.Depends {
		dep, ok := w.tree.byName[name]
		if !ok {
			if w.tree.builtin[name] {
				continue
			}
			return errdefs.New(errdefs.ErrInvalid, "module %s needs %s, which is neither a module nor built in", m.Path, name)
		}
		if err := w.visit(dep); err != nil {
			return err
		}
	}
	return nil
}

// soft returns the modules that m's soft dependencies name, directly or by an exact alias.
func (t *Tree) soft(m *Module) []*Module {
	var found []*Module
	for _, name := range m.softPre() {
		if dep, ok := t.byName[name]; ok {
			found = append(found, dep)
			continue
		}
		for _, other := range t.modules {
			if slices.ContainsFunc(other.Aliases, func(a string) bool { return normalize(a) == name }) {
				found = append(found, other)
			}
		}
	}
	return found
}
