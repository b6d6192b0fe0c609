package bzimage

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/banger-dev/banger/internal/errdefs"
)

const elfMagic = elf.ELFMAG

// pvhNote is the type of the note by which a kernel tells its PVH entry point (XEN_ELFNOTE_PHYS32_ENTRY in
// include/xen/interface/elfnote.h).
const pvhNote = 18

// maxNotes bounds the note segment that is read into memory, in bytes.
const maxNotes = 1 << 20

// check makes sure that the size bytes of r are a whole x86-64 kernel and returns its version.
func check(r io.ReaderAt, size int64) (version string, err error) {
	programs, err := programHeaders(r, size)
	if err != nil {
		return "", err
	}
	var loads int
	var pvh bool
	for _, p := range programs {
		if p.Off > uint64(size) || p.Filesz > uint64(size)-p.Off {
			return "", fmt.Errorf("the vmlinux is truncated: it has %d bytes, a segment of %d starts at %d", size, p.Filesz, p.Off)
		}
		switch elf.ProgType(p.Type) {
		case elf.PT_LOAD:
			loads++
		case elf.PT_NOTE:
			found, err := hasPVH(io.NewSectionReader(r, int64(p.Off), int64(p.Filesz)))
			if err != nil {
				return "", err
			}
			pvh = pvh || found
		}
	}
	if loads == 0 {
		return "", errors.New("the vmlinux has nothing to load")
	}
	if !pvh {
		return "", errdefs.WithHint(errors.New("the kernel has no PVH entry point"), "use a kernel that was built with CONFIG_PVH=y, as those of Debian and Ubuntu are")
	}
	return banner(io.NewSectionReader(r, 0, size))
}

func programHeaders(r io.ReaderAt, size int64) ([]elf.Prog64, error) {
	var h elf.Header64
	if err := binary.Read(io.NewSectionReader(r, 0, size), binary.LittleEndian, &h); err != nil {
		return nil, errors.New("the vmlinux is truncated: it has no ELF header")
	}
	if string(h.Ident[:4]) != elfMagic {
		return nil, errors.New("what the bzImage holds is no ELF file")
	}
	if machine := elf.Machine(h.Machine); h.Ident[elf.EI_CLASS] != byte(elf.ELFCLASS64) || machine != elf.EM_X86_64 {
		return nil, fmt.Errorf("the kernel is for %s (%s), not for x86-64", machine, elf.Class(h.Ident[elf.EI_CLASS]))
	}
	if t := elf.Type(h.Type); t != elf.ET_EXEC && t != elf.ET_DYN {
		return nil, fmt.Errorf("the ELF file is of type %s, not an executable", t)
	}
	if h.Phentsize != uint16(binary.Size(elf.Prog64{})) {
		return nil, fmt.Errorf("the vmlinux has program headers of %d bytes", h.Phentsize)
	}
	if h.Phoff > uint64(size) {
		return nil, errors.New("the vmlinux is truncated: its program headers are missing")
	}
	programs := make([]elf.Prog64, h.Phnum)
	table := io.NewSectionReader(r, int64(h.Phoff), size-int64(h.Phoff))
	if err := binary.Read(table, binary.LittleEndian, programs); err != nil {
		return nil, errors.New("the vmlinux is truncated: its program headers are missing")
	}
	return programs, nil
}

// hasPVH reports whether a note segment names a PVH entry point.
func hasPVH(segment *io.SectionReader) (bool, error) {
	if segment.Size() > maxNotes {
		return false, fmt.Errorf("the vmlinux has a note segment of %d bytes", segment.Size())
	}
	notes := make([]byte, segment.Size())
	if _, err := segment.ReadAt(notes, 0); err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read the vmlinux's notes: %w", err)
	}
	const header = 12
	for len(notes) >= header {
		name, desc := align4(binary.LittleEndian.Uint32(notes)), align4(binary.LittleEndian.Uint32(notes[4:]))
		kind := binary.LittleEndian.Uint32(notes[8:])
		notes = notes[header:]
		if name+desc > uint64(len(notes)) {
			return false, nil // a broken note ends the list; the kernel does not use it
		}
		if kind == pvhNote && bytes.HasPrefix(notes[:name], []byte("Xen\x00")) {
			return true, nil
		}
		notes = notes[name+desc:]
	}
	return false, nil
}

func align4(n uint32) uint64 { return (uint64(n) + 3) &^ 3 }
