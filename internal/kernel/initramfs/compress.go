package initramfs

import (
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compression is how an archive is packed.
type Compression string

// The compressions.
const (
	None Compression = "none"
	Gzip Compression = "gzip"
	Zstd Compression = "zstd"
)

// Suffix is what the name of a file so compressed ends with.
func (c Compression) Suffix() string {
	switch c {
	case Gzip:
		return ".gz"
	case Zstd:
		return ".zst"
	default:
		return ""
	}
}

// Compress writes what fill writes to its argument, compressed, to w, and pads it so that another archive can follow:
// the kernel takes an uncompressed one only at a multiple of four bytes.
func Compress(w io.Writer, c Compression, fill func(io.Writer) error) error {
	counted := &counter{w: w}
	packer, err := packer(counted, c)
	if err != nil {
		return err
	}
	if err := fill(packer); err != nil {
		return err
	}
	if err := packer.Close(); err != nil {
		return fmt.Errorf("compress the initramfs: %w", err)
	}
	if rest := counted.n % blockSize; rest != 0 {
		if _, err := io.Copy(w, bytes.NewReader(make([]byte, blockSize-rest))); err != nil {
			return fmt.Errorf("write the initramfs: %w", err)
		}
	}
	return nil
}

func packer(w io.Writer, c Compression) (io.WriteCloser, error) {
	switch c {
	case None:
		return nopCloser{w}, nil
	case Gzip:
		return gzip.NewWriterLevel(w, gzip.BestCompression)
	case Zstd:
		// One goroutine, so that the output does not depend on the machine.
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	default:
		return nil, fmt.Errorf("compress the initramfs: %q is no compression", c)
	}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
