package bzimage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/pierrec/lz4/v4"
)

// The legacy frame of lz4 (lz4_Frame_format.md, "Legacy frame"), which `lz4 -l` writes for the kernel: after the magic
// number, blocks of a 32-bit little-endian length and the packed bytes, each with 8 MiB of content but the last.
const (
	lz4Content  = 8 << 20
	lz4MaxBlock = lz4Content + lz4Content/255 + 16 // LZ4_compressBound
)

type lz4Reader struct {
	r      io.Reader
	packed []byte
	block  []byte
	rest   []byte // of block, not yet read
}

func openLZ4(r io.Reader) (io.Reader, error) {
	if _, err := io.CopyN(io.Discard, r, 4); err != nil {
		return nil, err
	}
	return &lz4Reader{r: r, packed: make([]byte, lz4MaxBlock), block: make([]byte, lz4Content)}, nil
}

func (z *lz4Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(z.rest) == 0 {
		if err := z.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, z.rest)
	z.rest = z.rest[n:]
	return n, nil
}

// next unpacks one block.
func (z *lz4Reader) next() error {
	var length [4]byte
	if _, err := io.ReadFull(z.r, length[:]); err != nil {
		return err // io.EOF between two blocks is the end
	}
	n := binary.LittleEndian.Uint32(length[:])
	if n > lz4MaxBlock {
		return fmt.Errorf("a block of %d bytes is larger than a legacy frame allows", n)
	}
	packed := z.packed[:n]
	if _, err := io.ReadFull(z.r, packed); err != nil {
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	size, err := lz4.UncompressBlock(packed, z.block)
	if err != nil {
		return err
	}
	z.rest = z.block[:size]
	return nil
}
