package bundle

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/banger-dev/banger/internal/errdefs"
)

// source is the compressed stream. It ends with its context, counts and sums what is read, and knows whose fault an error
// is.
type source struct {
	ctx    context.Context //nolint:containedctx // lives as long as one call of Read
	r      io.Reader
	sum    hash.Hash
	left   int64
	failed error
}

func (s *source) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		s.failed = context.Cause(s.ctx)
	}
	if s.failed != nil {
		return 0, s.failed
	}
	n, err := s.r.Read(p)
	s.sum.Write(p[:n])
	if s.left -= int64(n); s.left < 0 {
		err = invalid("it has more bytes than it may")
	}
	if err != nil && !errors.Is(err, io.EOF) {
		s.failed = err
	}
	return n, err
}

// blame returns the stream's own error, if it had one, and else puts err into the class of bad input.
func (s *source) blame(err error) error {
	if s.failed != nil {
		return s.failed
	}
	return errdefs.As(errdefs.ErrInvalid, err)
}

// archive is an open bundle.
type archive struct {
	source *source
	z      *zstd.Decoder
	tar    *tar.Reader
	limits Limits
	seen   map[string]bool
}

// open begins to read a bundle. The caller closes it.
func open(ctx context.Context, r io.Reader, l Limits) (*archive, error) {
	l = l.orDefault()
	s := &source{ctx: ctx, r: r, sum: sha256.New(), left: l.Compressed}
	z, err := zstd.NewReader(s, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, s.blame(err)
	}
	return &archive{source: s, z: z, tar: tar.NewReader(z), limits: l, seen: make(map[string]bool)}, nil
}

func (a *archive) close() { a.z.Close() }

// next returns the next file, or io.EOF.
func (a *archive) next() (*tar.Header, error) {
	h, err := a.tar.Next()
	if errors.Is(err, io.EOF) && a.source.failed == nil {
		return nil, io.EOF
	}
	if err != nil {
		return nil, a.source.blame(err)
	}
	if a.seen[h.Name] {
		return nil, invalid("entry %q is there twice", h.Name)
	}
	a.seen[h.Name] = true
	if len(a.seen) > a.limits.Files {
		return nil, invalid("there are more than %d files", a.limits.Files)
	}
	if h.Size < 0 || h.Size > a.limits.Content {
		return nil, invalid("entry %q: the files have more bytes than they may", h.Name)
	}
	a.limits.Content -= h.Size
	return h, nil
}

// Read reads the content of the file that next returned.
func (a *archive) Read(p []byte) (int, error) {
	if a.source.ctx.Err() != nil { // a little may become a lot before the source is read again
		return 0, context.Cause(a.source.ctx)
	}
	n, err := a.tar.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = a.source.blame(err)
	}
	return n, err
}

// manifest reads the file that next returned as a whole.
func (a *archive) manifest(h *tar.Header) ([]byte, error) {
	if h.Size > maxManifest {
		return nil, invalid("%s has %d bytes", manifestFile, h.Size)
	}
	return io.ReadAll(a)
}

// finish reads what follows the last file, which must be zeros, and compares the sum of all with want unless that is "".
func (a *archive) finish(want string) error {
	b := make([]byte, 64<<10)
	for total := 0; ; {
		n, err := a.z.Read(b)
		for _, c := range b[:n] {
			if c != 0 {
				return invalid("something follows the archive's end")
			}
		}
		if total += n; total > maxPadding {
			return invalid("more than %d bytes follow the archive's end", maxPadding)
		}
		if errors.Is(err, io.EOF) && a.source.failed == nil {
			break
		}
		if err != nil {
			return a.source.blame(err)
		}
	}
	got := hex.EncodeToString(a.source.sum.Sum(nil))
	if want != "" && got != want {
		return errdefs.WithHint(invalid("its sha256 is %s, not %s", got, want),
			"it was changed since the catalog was made, or on its way; do not use it before you know why")
	}
	return nil
}

// refuse names an entry that has no place in a bundle.
func refuse(h *tar.Header) error {
	if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse {
		return invalid("entry %q: its type is %q, not a regular file", h.Name, h.Typeflag)
	}
	return invalid("entry %q does not belong into a bundle", h.Name)
}

func regular(h *tar.Header) bool { return h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeGNUSparse }

// checksum compares what was read with what the manifest says.
func checksum(name string, got, want File) error {
	if got != want {
		return invalid("%s: %d bytes with the sha256 %s are not what the manifest says", name, got.Size, got.SHA256)
	}
	return nil
}

// store writes the file that next returned to w and returns what it is.
func (a *archive) store(h *tar.Header, w io.Writer) (File, error) {
	sum := sha256.New()
	n, err := io.CopyBuffer(onlyWriter{io.MultiWriter(sum, w)}, io.LimitReader(a, h.Size), make([]byte, holeSize))
	if err != nil {
		return File{}, fmt.Errorf("entry %q: %w", h.Name, err)
	}
	return File{Size: n, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

// onlyWriter hides ReadFrom, which would copy in pieces of another size.
type onlyWriter struct{ io.Writer }
