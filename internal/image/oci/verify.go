package oci

import (
	"encoding/hex"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/banger-dev/banger/internal/errdefs"
)

// verified reads what should have a size and a digest, and returns an error in place of EOF when it has not.
type verified struct {
	io.ReadCloser
	want   v1.Hash
	left   int64
	hash   hash.Hash
	failed func() // called once when the content is wrong; may be nil
	end    error  // the verdict, repeated
}

func verify(r io.ReadCloser, d v1.Descriptor, failed func()) (io.ReadCloser, error) {
	h, err := v1.Hasher(d.Digest.Algorithm)
	if err != nil {
		return nil, errdefs.As(errdefs.ErrInvalid, err)
	}
	return &verified{ReadCloser: r, want: d.Digest, left: d.Size, hash: h, failed: failed}, nil
}

func (v *verified) Read(p []byte) (int, error) {
	if v.end != nil {
		return 0, v.end
	}
	n, err := v.ReadCloser.Read(p)
	v.hash.Write(p[:n])
	v.left -= int64(n)
	switch {
	case v.left < 0:
		err = errdefs.New(errdefs.ErrInvalid, "%w: it is too long", errMismatch)
	case err == io.EOF: //nolint:errorlint // a reader's EOF is not wrapped
		err = v.verdict()
	}
	if err != nil {
		v.end = err
		if v.failed != nil && errdefs.Class(err) == errdefs.ErrInvalid { //nolint:errorlint // Class returns the class itself
			v.failed()
		}
	}
	return n, err
}

func (v *verified) verdict() error {
	if v.left > 0 {
		return errdefs.New(errdefs.ErrInvalid, "%w: %d bytes are missing at its end", errMismatch, v.left)
	}
	if got := sum(v.want.Algorithm, v.hash); got != v.want {
		return errDigest(v.want, got)
	}
	return io.EOF
}

func sum(algorithm string, h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: algorithm, Hex: hex.EncodeToString(h.Sum(nil))}
}

func hashOf(algorithm string, data []byte) (v1.Hash, error) {
	h, err := v1.Hasher(algorithm)
	if err != nil {
		return v1.Hash{}, errdefs.As(errdefs.ErrInvalid, err)
	}
	h.Write(data)
	return sum(algorithm, h), nil
}
