// Package initramfs writes the archives that a kernel unpacks into its first root file system
// (Documentation/driver-api/early-userspace/buffer-format.rst). The same input gives the same bytes.
package initramfs

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// File types, as in st_mode.
const (
	typeDir  = 0o040000
	typeFile = 0o100000
	typeChar = 0o020000
)

// blockSize is what an archive is padded to, so that another, of whatever format, can follow it.
const blockSize = 512

// maxName bounds an entry's name: the kernel refuses longer ones (PATH_MAX).
const maxName = 4095

// writer makes one archive in the "newc" format. Everything in it belongs to root and dates from 1970.
type writer struct {
	w      io.Writer
	offset int64
	inode  uint32
	err    error // the first, after which nothing more is written
}

type entry struct {
	name         string // relative to the root, without a leading slash
	mode         uint32 // type and permissions
	major, minor uint32 // of a device
}

// dir adds a directory.
func (w *writer) dir(name string) { w.header(entry{name: name, mode: typeDir | 0o755}, 0) }

// char adds a character device.
func (w *writer) char(name string, perm, major, minor uint32) {
	w.header(entry{name: name, mode: typeChar | perm, major: major, minor: minor}, 0)
}

// file adds a regular file with exactly size bytes of content.
func (w *writer) file(name string, perm uint32, size int64, content io.Reader) {
	if size < 0 || size > 1<<32-1 {
		w.fail(fmt.Errorf("add %s to the initramfs: %d bytes are too many", name, size))
		return
	}
	w.header(entry{name: name, mode: typeFile | perm}, size)
	if w.err != nil {
		return
	}
	n, err := io.CopyN(w.w, content, size)
	w.offset += n
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("it has %d bytes instead of %d", n, size)
	}
	if err != nil {
		w.fail(fmt.Errorf("add %s to the initramfs: %w", name, err))
		return
	}
	w.pad(4)
}

// close ends the archive. It returns the first error of all calls.
func (w *writer) close() error {
	w.inode = 0
	w.header(entry{name: "TRAILER!!!"}, 0)
	w.pad(blockSize)
	return w.err
}

func (w *writer) header(e entry, size int64) {
	if len(e.name) > maxName || strings.ContainsRune(e.name, 0) {
		w.fail(fmt.Errorf("add %q to the initramfs: bad name", e.name))
		return
	}
	links := uint32(1)
	if e.mode&typeDir != 0 {
		links = 2
	}
	var ino uint32
	if e.mode != 0 {
		w.inode++
		ino = w.inode
	}
	fields := []uint32{
		ino, e.mode, 0 /* uid */, 0 /* gid */, links, 0 /* mtime */, uint32(size),
		0 /* devmajor */, 0 /* devminor */, e.major, e.minor, uint32(len(e.name) + 1), 0, /* check */
	}
	var b strings.Builder
	b.WriteString("070701")
	for _, f := range fields {
		fmt.Fprintf(&b, "%08X", f)
	}
	b.WriteString(e.name)
	b.WriteByte(0)
	w.write(b.String())
	w.pad(4)
}

func (w *writer) pad(to int64) {
	if rest := w.offset % to; rest != 0 {
		w.write(string(make([]byte, to-rest)))
	}
}

func (w *writer) write(s string) {
	if w.err != nil {
		return
	}
	n, err := io.WriteString(w.w, s)
	w.offset += int64(n)
	if err != nil {
		w.fail(fmt.Errorf("write the initramfs: %w", err))
	}
}

func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}
