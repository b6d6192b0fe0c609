package bzimage

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
	"github.com/ulikunitz/xz/lzma"
)

// maxWindow bounds the memory of a decompressor, in bytes. It is the most that the kernel's own zstd takes
// (`zstd -22`); the kernel's xz uses 32 MiB and its lzma 64 MiB.
const maxWindow = 128 << 20

// sizeTrailer is the length of the unpacked size, little-endian, that ends each payload. It is gzip's own; the kernel's
// build appends it for the other formats (scripts/Makefile.lib, size_append).
const sizeTrailer = 4

type format struct {
	name  string
	magic string
	open  func(io.Reader) (io.Reader, error)
}

var formats = []format{
	{"gzip", "\x1f\x8b", openGzip},
	{"xz", "\xfd7zXZ\x00", openXZ},
	{"zstd", "\x28\xb5\x2f\xfd", openZstd},
	{"lz4", "\x02\x21\x4c\x18", openLZ4},
	{"bzip2", "BZh", func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }},
	{"lzma", "\x5d\x00\x00", openLZMA}, // no magic by itself: the properties of lzma's defaults, as the kernel has it
	{"lzo", "\x89LZO\x00", func(io.Reader) (io.Reader, error) { return nil, errors.ErrUnsupported }},
}

// unpacker recognises the payload's format.
func unpacker(body *io.SectionReader) (payload, error) {
	if body.Size() <= sizeTrailer {
		return payload{}, fmt.Errorf("the payload has only %d bytes", body.Size())
	}
	f, err := recognise(body)
	if err != nil {
		return payload{}, err
	}
	var trailer [sizeTrailer]byte
	if _, err := body.ReadAt(trailer[:], body.Size()-sizeTrailer); err != nil {
		return payload{}, fmt.Errorf("read the payload's size: %w", err)
	}
	size := int64(binary.LittleEndian.Uint32(trailer[:]))
	if size > MaxSize {
		return payload{}, fmt.Errorf("the payload declares %d bytes unpacked, more than %d", size, MaxSize)
	}
	length := body.Size()
	if f.name != "gzip" {
		length -= sizeTrailer
	}
	r, err := f.open(bufio.NewReaderSize(io.NewSectionReader(body, 0, length), 64<<10))
	if err != nil {
		return payload{}, fmt.Errorf("unpack the %s payload: %w", f.name, truncated(err))
	}
	return payload{format: f.name, reader: r, size: size}, nil
}

func recognise(body *io.SectionReader) (format, error) {
	magic := make([]byte, 8)
	n, err := body.ReadAt(magic, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return format{}, fmt.Errorf("read the payload: %w", err)
	}
	for _, f := range formats {
		if bytes.HasPrefix(magic[:n], []byte(f.magic)) {
			return f, nil
		}
	}
	return format{}, fmt.Errorf("the payload's compression is not known (it starts with % x)", magic[:n])
}

func openGzip(r io.Reader) (io.Reader, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return z, nil
}

// openXZ uses a port of XZ Embedded, the kernel's own decoder: unlike other Go packages it knows the x86 branch filter,
// which the kernel's build applies.
func openXZ(r io.Reader) (io.Reader, error) {
	z, err := xz.NewReader(r, maxWindow)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return z, nil
}

func openZstd(r io.Reader) (io.Reader, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, err
	}
	return z, nil // with concurrency 1 it holds no goroutine, so that it need not be closed
}

func openLZMA(r io.Reader) (io.Reader, error) {
	return lzma.ReaderConfig{DictCap: maxWindow}.NewReader(r)
}
