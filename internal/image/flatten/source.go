package flatten

import (
	"context"
	"errors"
	"io"

	"github.com/banger-dev/banger/internal/errdefs"
)

// source is the stream that an archive comes from. It ends with its context, and knows whose fault an error is.
type source struct {
	ctx    context.Context //nolint:containedctx // lives as long as one call of Tar
	r      io.Reader
	failed bool // the stream itself, not what is in it
}

func (s *source) Read(p []byte) (int, error) {
	if err := context.Cause(s.ctx); err != nil {
		s.failed = true
		return 0, err
	}
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.failed = true
	}
	return n, err
}

// blame puts an error of the archive's reader into the class of bad input, unless the stream failed.
func (s *source) blame(err error) error {
	if s.failed {
		return err
	}
	return errdefs.As(errdefs.ErrInvalid, err)
}

// body is the content of the entry that the archive is at.
type body struct {
	archive io.Reader
	source  *source
}

func (b body) Read(p []byte) (int, error) {
	n, err := b.archive.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.source.blame(err)
	}
	return n, err
}
