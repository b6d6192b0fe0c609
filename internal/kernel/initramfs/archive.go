package initramfs

import (
	"bytes"
	"io"
	"path"
	"slices"
	"strings"
)

// ModuleList is where the agent finds which modules to load: their absolute paths, one a line, in load order.
const ModuleList = "/etc/banger/modules"

// Module is a kernel module to load before the disks can be mounted.
type Module struct {
	Path    string // absolute in the guest: /lib/modules/<version>/kernel/...
	Content []byte // uncompressed
}

// WriteModules writes the archive of everything in the initramfs but the agent: the modules, ModuleList, the
// directories that the agent mounts on, and the console that the kernel opens for it.
func WriteModules(w io.Writer, modules []Module) error {
	a := &writer{w: w}
	var list strings.Builder
	names := []string{strings.TrimPrefix(ModuleList, "/")}
	for _, m := range modules {
		names = append(names, strings.TrimPrefix(m.Path, "/"))
		list.WriteString(m.Path + "\n")
	}
	for _, dir := range append([]string{"dev", "proc", "sys", "run"}, parents(names)...) {
		a.dir(dir)
	}
	a.char("dev/console", 0o600, 5, 1)
	a.file(names[0], 0o644, int64(list.Len()), strings.NewReader(list.String()))
	for i, m := range modules {
		a.file(names[i+1], 0o644, int64(len(m.Content)), bytes.NewReader(m.Content))
	}
	return a.close()
}

// WriteAgent writes the archive that makes the size bytes of agent the guest's first process. It follows the archive of
// WriteModules.
func WriteAgent(w io.Writer, agent io.Reader, size int64) error {
	a := &writer{w: w}
	a.file("init", 0o755, size, agent)
	return a.close()
}

// parents returns all directories above the named files, each after its own.
func parents(names []string) []string {
	var dirs []string
	for _, name := range names {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}
