package oci

import (
	"bufio"
	"bytes"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/banger-dev/banger/internal/errdefs"
)

// zstdWindow is how many bytes of history a zstd frame may ask for: what zstd --ultra -22 does.
const zstdWindow = 128 << 20

// decompressor looks at the first bytes, because media types are often wrong about the compression; a wrong guess would
// not survive the diff id. An eStargz layer is plain gzip, of many members.
func decompressor(stored io.Reader) (io.Reader, func(), error) {
	in := &input{r: stored}
	b := bufio.NewReaderSize(in, chunkSize)
	magic, err := b.Peek(6)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, nil, in.blame("gzip", err)
		}
		return &blamed{z, in, "gzip"}, func() { z.Close() }, nil
	case isZstd(magic):
		z, err := zstd.NewReader(b, zstd.WithDecoderMaxWindow(zstdWindow), zstd.WithDecoderLowmem(true), zstd.WithDecoderConcurrency(2))
		if err != nil {
			return nil, nil, in.blame("zstd", err)
		}
		return &blamed{z, in, "zstd"}, z.Close, nil
	case bytes.HasPrefix(magic, []byte("BZh")), bytes.HasPrefix(magic, []byte("\xfd7zXZ\x00")):
		return nil, nil, errdefs.New(errdefs.ErrInvalid, "it is compressed with bzip2 or xz, which the OCI specification does not know")
	}
	return b, func() {}, nil
}

// isCompressed tells whether a file begins as one that decompressor takes, or refuses.
func isCompressed(magic []byte) bool {
	return bytes.HasPrefix(magic, []byte{0x1f, 0x8b}) || isZstd(magic) ||
		bytes.HasPrefix(magic, []byte("BZh")) || bytes.HasPrefix(magic, []byte("\xfd7zXZ\x00"))
}

// isZstd knows a frame, and a skippable frame, which may come first.
func isZstd(magic []byte) bool {
	return bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		len(magic) >= 4 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:4], []byte{0x2a, 0x4d, 0x18})
}

// input remembers how reading ended, so that broken data can be told from data that could not be read.
type input struct {
	r   io.Reader
	err error
}

func (in *input) Read(p []byte) (int, error) {
	n, err := in.r.Read(p)
	in.err = err
	return n, err
}

// blame returns why decompressing failed: with the reason that reading did, or because the data are broken.
func (in *input) blame(format string, err error) error {
	if in.err != nil && in.err != io.EOF { //nolint:errorlint // a reader's EOF is not wrapped
		return in.err
	}
	return errdefs.New(errdefs.ErrInvalid, "%s: %w", format, err)
}

// blamed is a decompressor whose errors are put right.
type blamed struct {
	r      io.Reader
	in     *input
	format string
}

func (b *blamed) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // a reader's EOF is not wrapped
		err = b.in.blame(b.format, err)
	}
	return n, err
}
