package modules

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// MaxModule bounds one module, uncompressed, in bytes.
const MaxModule = 256 << 20

// maxWindow bounds the memory of a decompressor, in bytes. The kernel's build uses 1 MiB with xz and 8 MiB with zstd.
const maxWindow = 64 << 20

var suffixes = []struct {
	suffix string
	open   func(io.Reader) (io.Reader, error)
}{
	{".ko", func(r io.Reader) (io.Reader, error) { return r, nil }},
	{".ko.gz", func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{".ko.xz", func(r io.Reader) (io.Reader, error) { return xz.NewReader(r, maxWindow) }},
	{".ko.zst", openZstd},
}

func openZstd(r io.Reader) (io.Reader, error) {
	return zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
}

// uncompressedPath returns file without the suffix of a compression, and whether file is a module at all.
func uncompressedPath(file string) (string, bool) {
	for _, s := range suffixes {
		if base, ok := strings.CutSuffix(file, s.suffix); ok {
			return base + ".ko", true
		}
	}
	return "", false
}

// read returns the uncompressed content of a module's file.
func read(tree fs.FS, file string) ([]byte, error) {
	f, err := tree.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for _, s := range suffixes {
		if !strings.HasSuffix(file, s.suffix) {
			continue
		}
		r, err := s.open(f)
		if err != nil {
			return nil, fmt.Errorf("decompress: %w", err)
		}
		return readBounded(r)
	}
	return nil, fmt.Errorf("%s is no module", file)
}

func readBounded(r io.Reader) ([]byte, error) {
	var b bytes.Buffer
	n, err := b.ReadFrom(io.LimitReader(r, MaxModule+1))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	if n > MaxModule {
		return nil, fmt.Errorf("the module has more than %d bytes", MaxModule)
	}
	return b.Bytes(), nil
}
