package bzimage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Fields of the setup header, by their offset in the file (boot.rst, "The Real-Mode Kernel Header").
const (
	offSetupSects    = 0x1f1 // number of 512-byte sectors of the real-mode code after the first, 0 meaning 4
	offBootFlag      = 0x1fe // 0xaa55
	offMagic         = 0x202 // "HdrS"
	offVersion       = 0x206 // of the boot protocol
	offPayloadOffset = 0x248 // from the start of the protected-mode code
	offPayloadLength = 0x24c
	headerEnd        = 0x250
)

// payloadProtocol is the first boot protocol whose header has the payload's place (Linux 2.6.26).
const payloadProtocol = 0x0208

// locate returns the packed payload of a bzImage.
func locate(src io.ReaderAt, size int64) (*io.SectionReader, error) {
	var h [headerEnd]byte
	if n, err := src.ReadAt(h[:], 0); err != nil {
		return nil, fmt.Errorf("neither a bzImage nor a vmlinux: it ends after %d bytes", n)
	}
	if binary.LittleEndian.Uint16(h[offBootFlag:]) != 0xaa55 || string(h[offMagic:offMagic+4]) != "HdrS" {
		return nil, errors.New("neither an x86 bzImage nor an ELF vmlinux")
	}
	if v := binary.LittleEndian.Uint16(h[offVersion:]); v < payloadProtocol {
		return nil, fmt.Errorf("the bzImage has boot protocol %d.%02d, 2.08 or newer is needed", v>>8, v&0xff)
	}
	sectors := int64(h[offSetupSects])
	if sectors == 0 {
		sectors = 4
	}
	start := (sectors+1)*512 + int64(binary.LittleEndian.Uint32(h[offPayloadOffset:]))
	length := int64(binary.LittleEndian.Uint32(h[offPayloadLength:]))
	if length == 0 {
		return nil, errors.New("the bzImage has no payload")
	}
	if start+length > size {
		return nil, fmt.Errorf("the bzImage is truncated: it has %d bytes, its payload ends at %d", size, start+length)
	}
	return io.NewSectionReader(src, start, length), nil
}
