// Package kerneltest makes kernels for tests: files that look like a vmlinux, a bzImage and modules as far as banger
// looks, and that boot nowhere.
package kerneltest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
)

// Code is what a synthetic vmlinux has for code: size bytes of calls (opcode e8) to one place, which the x86 filter of xz
// turns into one repeated pattern, and other filters do not.
func Code(size int) []byte {
	code := make([]byte, 0, size)
	for at := 0; len(code)+8 <= size; at += 8 {
		code = append(code, 0xe8)
		code = binary.LittleEndian.AppendUint32(code, uint32(0x1000-(at+5)))
		code = append(code, 0x90, 0x90, 0x90)
	}
	return append(code, make([]byte, size-len(code))...)
}

// Vmlinux is an x86-64 ELF executable with a PVH note, the banner of the given version, and code.
func Vmlinux(version string, code []byte) []byte {
	note := binary.LittleEndian.AppendUint32(nil, 4) // length of the name
	note = binary.LittleEndian.AppendUint32(note, 4) // and of the description
	note = binary.LittleEndian.AppendUint32(note, 18)
	note = append(note, "Xen\x00\x00\x00\x00\x01"...)
	banner := "Linux version " + version + " (builder@example) #1 SMP\n\x00"
	load := append(append([]byte{}, code...), banner...)

	const headers = 64 + 2*56
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1,
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 2,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	var b bytes.Buffer
	put(&b, h)
	put(&b, elf.Prog64{Type: uint32(elf.PT_NOTE), Off: headers, Filesz: uint64(len(note)), Memsz: uint64(len(note))})
	put(&b, elf.Prog64{Type: uint32(elf.PT_LOAD), Off: headers + uint64(len(note)), Filesz: uint64(len(load)), Memsz: uint64(len(load))})
	b.Write(note)
	b.Write(load)
	return b.Bytes()
}

// BzImage puts a packed payload behind a setup header of boot protocol 2.15.
func BzImage(payload []byte) []byte {
	const sectors, offset = 1, 0x40
	image := make([]byte, (sectors+1)*512+offset)
	image[0x1f1] = sectors
	copy(image[0x1fe:], "\x55\xaa")
	copy(image[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(image[0x206:], 0x020f)
	binary.LittleEndian.PutUint32(image[0x248:], offset)
	binary.LittleEndian.PutUint32(image[0x24c:], uint32(len(payload)))
	return append(image, payload...)
}

// Module is an x86-64 kernel module whose .modinfo section has the given entries, "key=value".
func Module(info ...string) []byte {
	modinfo := strings.Join(info, "\x00") + "\x00"
	const names = "\x00.modinfo\x00.shstrtab\x00"
	at := uint64(64 + len(modinfo) + len(names))
	h := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1,
		Shoff: at, Ehsize: 64, Shentsize: 64, Shnum: 3, Shstrndx: 2,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	var b bytes.Buffer
	put(&b, h)
	b.WriteString(modinfo)
	b.WriteString(names)
	put(&b, elf.Section64{})
	put(&b, elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: 64, Size: uint64(len(modinfo))})
	put(&b, elf.Section64{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: uint64(64 + len(modinfo)), Size: uint64(len(names))})
	return b.Bytes()
}

// Modules is a tree lib/modules/<version> in the manner of Debian's cloud kernel: ext4 is built in, the virtio drivers
// and overlay are modules.
func Modules(version string) map[string][]byte {
	module := func(name string, info ...string) []byte {
		return Module(append([]string{"license=GPL", "name=" + name, "vermagic=" + version + " SMP preempt mod_unload"}, info...)...)
	}
	return map[string][]byte{
		"modules.builtin":                             []byte("kernel/fs/ext4/ext4.ko\n"),
		"modules.order":                               []byte("kernel/drivers/virtio/virtio.ko\nkernel/drivers/virtio/virtio_ring.ko\n"),
		"kernel/drivers/virtio/virtio.ko":             module("virtio", "depends=virtio_ring"),
		"kernel/drivers/virtio/virtio_ring.ko":        module("virtio_ring", "depends="),
		"kernel/drivers/virtio/virtio_mmio.ko":        module("virtio_mmio", "depends=virtio_ring,virtio", "alias=acpi*:LNRO0005:*"),
		"kernel/drivers/block/virtio_blk.ko":          module("virtio_blk", "depends=virtio_ring,virtio", "alias=virtio:d00000002v*"),
		"kernel/drivers/net/virtio_net.ko":            module("virtio_net", "depends=virtio_ring,virtio", "alias=virtio:d00000001v*"),
		"kernel/drivers/char/virtio_console.ko":       module("virtio_console", "depends=virtio_ring,virtio"),
		"kernel/drivers/char/hw_random/virtio-rng.ko": module("virtio_rng", "depends=virtio"),
		"kernel/fs/overlayfs/overlay.ko":              module("overlay", "depends=", "alias=fs-overlay"),
		"kernel/fs/fuse/fuse.ko":                      module("fuse", "depends=", "alias=devname:fuse", "alias=char-major-10-229"),
	}
}

func put(b *bytes.Buffer, v any) {
	if err := binary.Write(b, binary.LittleEndian, v); err != nil {
		panic(err) // a bytes.Buffer does not fail, the types have fixed sizes
	}
}
