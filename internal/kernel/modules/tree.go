package modules

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
)

// The lists that the kernel's build makes and that a package ships.
const (
	fileOrder          = "modules.order"
	fileBuiltin        = "modules.builtin"
	fileBuiltinModinfo = "modules.builtin.modinfo"
)

const (
	maxModules = 50_000   // in one tree; generic kernels have 6,000 to 7,000
	maxList    = 64 << 20 // bytes of one of the build's lists
)

// Tree is what a kernel can load.
type Tree struct {
	files   fs.FS
	modules []*Module // by Path
	byName  map[string]*Module
	builtin map[string]bool // names of modules that are part of the kernel
	lists   map[string][]byte
}

// Visit is called for each module with its uncompressed content, which is only valid during the call.
type Visit func(m *Module, content []byte) error

// Scan reads all modules of a lib/modules/<version> directory, in the order of their paths, and calls visit, which may
// be nil, for each. Symbolic links are not followed. A module that cannot be read is errdefs.ErrInvalid, naming it.
func Scan(ctx context.Context, files fs.FS, visit Visit) (*Tree, error) {
	t := &Tree{files: files, byName: map[string]*Module{}, builtin: map[string]bool{}, lists: map[string][]byte{}}
	if err := t.readLists(); err != nil {
		return nil, err
	}
	order := t.order()
	err := fs.WalkDir(files, ".", func(file string, d fs.DirEntry, err error) error {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		uncompressed, ok := uncompressedPath(file)
		if !ok || !d.Type().IsRegular() {
			return nil
		}
		m := &Module{Name: NameOf(file), Path: uncompressed, file: file, order: len(order) + len(t.modules)}
		if at, ok := order[uncompressed]; ok {
			m.order = at
		}
		return t.add(m, visit)
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(t.modules, func(a, b *Module) int { return strings.Compare(a.Path, b.Path) })
	return t, nil
}

func (t *Tree) add(m *Module, visit Visit) error {
	if len(t.modules) >= maxModules {
		return errdefs.New(errdefs.ErrInvalid, "there are more than %d modules", maxModules)
	}
	if !clean(m.Path) {
		return errdefs.New(errdefs.ErrInvalid, "module %q: bad character in its path", m.Path)
	}
	content, err := read(t.files, m.file)
	if err == nil {
		err = m.parseInfo(content)
	}
	if err != nil {
		return errdefs.New(errdefs.ErrInvalid, "module %s: %w", m.file, err)
	}
	t.index(m)
	if visit == nil {
		return nil
	}
	return visit(m, content)
}

// index makes m the module of its name. Of two with one name, the one outside kernel/ wins, as with depmod (depmod.d(5)):
// what is in updates/ or extra/ is meant to replace the kernel's own; otherwise the first.
func (t *Tree) index(m *Module) {
	old, taken := t.byName[m.Name]
	if taken {
		if m.own() || !old.own() {
			return
		}
		t.modules = slices.DeleteFunc(t.modules, func(x *Module) bool { return x == old })
	}
	t.byName[m.Name] = m
	t.modules = append(t.modules, m)
}

// own reports whether the module is part of the kernel's own build.
func (m *Module) own() bool { return strings.HasPrefix(m.Path, "kernel/") }

// Len is the number of modules.
func (t *Tree) Len() int { return len(t.modules) }

// Read returns the uncompressed content of a module of the tree.
func (t *Tree) Read(m *Module) ([]byte, error) {
	content, err := read(t.files, m.file)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", m.file, err)
	}
	return content, nil
}

func (t *Tree) readLists() error {
	for _, name := range []string{fileOrder, fileBuiltin, fileBuiltinModinfo} {
		f, err := t.files.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		data, err := io.ReadAll(io.LimitReader(f, maxList+1))
		_ = f.Close()
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if len(data) > maxList {
			return errdefs.New(errdefs.ErrInvalid, "%s has more than %d bytes", name, maxList)
		}
		t.lists[name] = data
	}
	for line := range lines(t.lists[fileBuiltin]) {
		t.builtin[NameOf(line)] = true
	}
	return nil
}

// order returns the place of each module in modules.order.
func (t *Tree) order() map[string]int {
	order := map[string]int{}
	for line := range lines(t.lists[fileOrder]) {
		if file, ok := uncompressedPath(line); ok {
			order[file] = len(order)
		}
	}
	return order
}

// lines yields the lines of an index that can be one.
func lines(data []byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		s := bufio.NewScanner(bytes.NewReader(data))
		for s.Scan() {
			if line := strings.TrimSpace(s.Text()); line != "" && clean(line) && !yield(line) {
				return
			}
		}
	}
}
