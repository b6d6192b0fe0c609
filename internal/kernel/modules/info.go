// Package modules reads a tree of Linux kernel modules (lib/modules/<version>): what each module needs, in which order
// they load, and the indexes that modprobe looks them up in. It needs no tool of the host and trusts no module.
package modules

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"path"
	"strings"
)

// maxInfo bounds a module's .modinfo section, in bytes; amdgpu, the largest known, has 30 KB.
const maxInfo = 4 << 20

// Module is one loadable module.
type Module struct {
	Name     string   // with underscores, as the kernel knows it
	Path     string   // of the uncompressed module, relative to the tree: kernel/fs/ext4/ext4.ko
	Version  string   // of the kernel that it was built for, the first word of its vermagic
	Depends  []string // names of the modules whose symbols it uses
	Aliases  []string // patterns that modprobe finds it by, as written
	SoftDeps []string // "pre: a b post: c", as written
	order    int      // in modules.order, the priority among modules with the same alias
	file     string   // the module's file in the tree; Path, or Path with a compression's suffix
}

// NameOf is the kernel's name of the module in a file: its base without suffixes and with underscores.
func NameOf(file string) string {
	base, _, _ := strings.Cut(path.Base(file), ".")
	return normalize(base)
}

func normalize(name string) string { return strings.ReplaceAll(name, "-", "_") }

// parseInfo reads the .modinfo section of an uncompressed module into m.
func (m *Module) parseInfo(content []byte) error {
	f, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("no module: %w", err)
	}
	if f.Machine != elf.EM_X86_64 || f.Class != elf.ELFCLASS64 {
		return fmt.Errorf("the module is for %s (%s), not for x86-64", f.Machine, f.Class)
	}
	section := f.Section(".modinfo")
	if section == nil {
		return errors.New("no module: it has no .modinfo section")
	}
	if section.Flags&elf.SHF_COMPRESSED != 0 || section.Size > maxInfo {
		return fmt.Errorf("its .modinfo section of %d bytes is not plain", section.Size)
	}
	data, err := section.Data()
	if err != nil {
		return fmt.Errorf("read its .modinfo section: %w", err)
	}
	for entry := range bytes.SplitSeq(data, []byte{0}) {
		key, value, ok := strings.Cut(string(entry), "=")
		if ok && clean(value) {
			m.set(key, value)
		}
	}
	return nil
}

func (m *Module) set(key, value string) {
	switch key {
	case "depends":
		for name := range strings.SplitSeq(value, ",") {
			if name != "" {
				m.Depends = append(m.Depends, normalize(name))
			}
		}
	case "alias":
		m.Aliases = append(m.Aliases, value)
	case "softdep":
		m.SoftDeps = append(m.SoftDeps, value)
	case "vermagic":
		m.Version, _, _ = strings.Cut(value, " ")
	}
}

// clean reports whether a value can be a line of an index: no control bytes, nothing outside ASCII, not absurdly long.
func clean(value string) bool {
	if len(value) > 4096 {
		return false
	}
	for _, c := range []byte(value) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// softPre returns the names that the module's soft dependencies want loaded before it.
func (m *Module) softPre() []string {
	var names []string
	for _, line := range m.SoftDeps {
		pre := false
		for word := range strings.FieldsSeq(line) {
			switch {
			case word == "pre:":
				pre = true
			case strings.HasSuffix(word, ":"):
				pre = false
			case pre:
				names = append(names, normalize(word))
			}
		}
	}
	return names
}
