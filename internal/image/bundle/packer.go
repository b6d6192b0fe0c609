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
	"os"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/banger-dev/banger/internal/errdefs"
)

// packer writes a bundle.
type packer struct {
	ctx context.Context //nolint:containedctx // lives as long as one call of Write
	sum hash.Hash
	z   *zstd.Encoder
	tar *tar.Writer
}

func newPacker(ctx context.Context, w io.Writer) (*packer, error) {
	sum := sha256.New()
	// One goroutine: what it writes depends on nothing else then.
	z, err := zstd.NewWriter(io.MultiWriter(w, sum), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return &packer{ctx, sum, z, tar.NewWriter(z)}, nil
}

func (p *packer) header(name string, size int64) error {
	return p.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatPAX,
	})
}

func (p *packer) manifest(m any) error {
	data, err := encode(m)
	if err != nil {
		return err
	}
	if err := p.header(manifestFile, int64(len(data))); err != nil {
		return err
	}
	_, err = p.tar.Write(data)
	return err
}

// file adds f, which must still be what it was when it was described.
func (p *packer) file(name string, f *os.File, what File) error {
	if err := p.header(name, what.Size); err != nil {
		return err
	}
	sum := sha256.New()
	if err := copyFile(p.ctx, io.MultiWriter(p.tar, sum), f, what.Size); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != what.SHA256 {
		return errdefs.New(errdefs.ErrState, "%s: it changed while it was read", name)
	}
	return nil
}

// finish completes the bundle and returns its sha256.
func (p *packer) finish() (string, error) {
	if err := errors.Join(p.tar.Close(), p.z.Close()); err != nil {
		return "", err
	}
	return hex.EncodeToString(p.sum.Sum(nil)), nil
}

// describe reads f as a whole.
func describe(ctx context.Context, f *os.File) (File, error) {
	info, err := f.Stat()
	if err != nil {
		return File{}, err
	}
	sum := sha256.New()
	if err := copyFile(ctx, sum, f, info.Size()); err != nil {
		return File{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return File{Size: info.Size(), SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

// copyFile copies the first size bytes of f.
func copyFile(ctx context.Context, w io.Writer, f *os.File, size int64) error {
	b := make([]byte, 256<<10)
	for at := int64(0); at < size; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := int(min(size-at, int64(len(b))))
		if _, err := f.ReadAt(b[:n], at); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if _, err := w.Write(b[:n]); err != nil {
			return err
		}
		at += int64(n)
	}
	return nil
}
