package vmmtest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// writeInitrd writes a cpio archive in the kernel's "newc" form with init and the modules.
func writeInitrd(file, init string, modules []string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	a := &archive{w: bufio.NewWriter(f)}
	for _, dir := range []string{"dev", "proc", "sys", "modules"} {
		a.entry(dir, 0o040755, nil)
	}
	a.file("init", init)
	for _, m := range modules {
		a.file("modules/"+filepath.Base(m), m)
	}
	a.entry("TRAILER!!!", 0, nil)
	if a.err == nil {
		a.err = a.w.Flush()
	}
	if err := f.Close(); a.err == nil {
		a.err = err
	}
	return a.err
}

// archive keeps its first error.
type archive struct {
	w     *bufio.Writer
	inode int
	err   error
}

func (a *archive) file(name, from string) {
	content, err := os.ReadFile(from)
	if err != nil && a.err == nil {
		a.err = err
	}
	a.entry(name, 0o100755, content)
}

// entry follows the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
func (a *archive) entry(name string, mode int, content []byte) {
	a.inode++
	header := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0, name)
	a.write([]byte(header))
	a.write(content)
}

func (a *archive) write(p []byte) {
	if a.err != nil {
		return
	}
	if _, a.err = a.w.Write(p); a.err != nil {
		return
	}
	if pad := (4 - len(p)%4) % 4; pad > 0 {
		_, a.err = io.WriteString(a.w, "\x00\x00\x00"[:pad])
	}
}
