package modules

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Index is one file that modprobe and udev read from lib/modules/<version>.
type Index struct {
	Name string
	Data []byte
}

// Indexes makes the files that depmod would, and passes on the lists of the kernel's build. Not among them is
// modules.symbols, which serves only `modprobe symbol:x`.
func (t *Tree) Indexes() ([]Index, error) {
	b := indexBuilder{}
	for name, data := range t.lists {
		b.text(name, data)
	}
	t.indexDependencies(&b)
	t.indexAliases(&b)
	t.indexSoftDeps(&b)
	t.indexDevices(&b)
	t.indexBuiltin(&b)
	slices.SortFunc(b.files, func(x, y Index) int { return strings.Compare(x.Name, y.Name) })
	return b.files, b.err
}

type indexBuilder struct {
	files []Index
	err   error
}

func (b *indexBuilder) text(name string, data []byte) {
	b.files = append(b.files, Index{Name: name, Data: data})
}

func (b *indexBuilder) binary(name string, t *trie) {
	data, err := t.encode()
	if err != nil && b.err == nil {
		b.err = fmt.Errorf("%s: %w", name, err)
	}
	b.text(name, data)
}

// indexDependencies makes modules.dep: each module with all that it needs, a module before those that it needs itself.
func (t *Tree) indexDependencies(b *indexBuilder) {
	var text bytes.Buffer
	var bin trie
	for _, m := range t.modules {
		line := m.Path + ":"
		for _, dep := range slices.Backward(t.needs(m)) {
			line += " " + dep.Path
		}
		text.WriteString(line + "\n")
		bin.insert(m.Name, line, m.order)
	}
	b.text("modules.dep", text.Bytes())
	b.binary("modules.dep.bin", &bin)
}

// needs returns what m needs, in load order. What is missing is left out, as depmod does: the kernel will name the
// symbol when somebody loads the module.
func (t *Tree) needs(m *Module) []*Module {
	var order []*Module
	seen := map[*Module]bool{m: true}
	var visit func(*Module)
	visit = func(m *Module) {
		for _, name := range m.Depends {
			if dep, ok := t.byName[name]; ok && !seen[dep] {
				seen[dep] = true
				visit(dep)
				order = append(order, dep)
			}
		}
	}
	visit(m)
	return order
}

func (t *Tree) indexAliases(b *indexBuilder) {
	text := bytes.NewBufferString("# Aliases extracted from modules themselves.\n")
	var bin trie
	for _, m := range t.byOrder() {
		for _, alias := range m.Aliases {
			fmt.Fprintf(text, "alias %s %s\n", alias, m.Name)
			bin.insert(normalizeAlias(alias), m.Name, m.order)
		}
	}
	b.text("modules.alias", text.Bytes())
	b.binary("modules.alias.bin", &bin)
}

func (t *Tree) indexSoftDeps(b *indexBuilder) {
	text := bytes.NewBufferString("# Soft dependencies extracted from modules themselves.\n")
	for _, m := range t.byOrder() {
		for _, soft := range m.SoftDeps {
			fmt.Fprintf(text, "softdep %s %s\n", m.Name, soft)
		}
	}
	b.text("modules.softdep", text.Bytes())
}

// indexDevices makes modules.devname, from which device nodes are made whose opening loads the module: /dev/fuse,
// /dev/net/tun, /dev/loop-control.
func (t *Tree) indexDevices(b *indexBuilder) {
	text := bytes.NewBufferString("# Device nodes to trigger on-demand module loading.\n")
	for _, m := range t.byOrder() {
		var node, kind string
		var major, minor int
		for _, alias := range m.Aliases {
			if name, ok := strings.CutPrefix(alias, "devname:"); ok {
				node = name
				continue
			}
			var a, i int
			if n, _ := fmt.Sscanf(alias, "char-major-%d-%d", &a, &i); n == 2 {
				kind, major, minor = "c", a, i
			} else if n, _ := fmt.Sscanf(alias, "block-major-%d-%d", &a, &i); n == 2 {
				kind, major, minor = "b", a, i
			}
		}
		if node != "" && kind != "" {
			fmt.Fprintf(text, "%s %s %s%d:%d\n", m.Name, node, kind, major, minor)
		}
	}
	b.text("modules.devname", text.Bytes())
}

func (t *Tree) indexBuiltin(b *indexBuilder) {
	var names, aliases trie
	for line := range lines(t.lists[fileBuiltin]) {
		names.insert(NameOf(line), "", 0)
	}
	for entry := range bytes.SplitSeq(t.lists[fileBuiltinModinfo], []byte{0}) {
		// <module>.<key>=<value>
		key, value, _ := strings.Cut(string(entry), "=")
		if name, ok := strings.CutSuffix(key, ".alias"); ok && clean(name) && clean(value) {
			aliases.insert(normalizeAlias(value), normalize(name), 0)
		}
	}
	b.binary("modules.builtin.bin", &names)
	b.binary("modules.builtin.alias.bin", &aliases)
}

// byOrder returns the modules by their priority.
func (t *Tree) byOrder() []*Module {
	return slices.SortedStableFunc(slices.Values(t.modules), func(a, b *Module) int { return a.order - b.order })
}

// normalizeAlias turns dashes into underscores except between brackets, as modprobe does with what it looks up.
func normalizeAlias(alias string) string {
	out := []byte(alias)
	bracket := false
	for i, c := range out {
		switch {
		case c == '[':
			bracket = true
		case c == ']':
			bracket = false
		case c == '-' && !bracket:
			out[i] = '_'
		}
	}
	return string(out)
}
