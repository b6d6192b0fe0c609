package bundle

import (
	"bytes"
	"fmt"
	"os"

	"github.com/banger-dev/banger/internal/fsutil"
)

const holeSize = 64 << 10 // so many zeros become a hole

var zeros [holeSize]byte

// sparse writes a file from its start and leaves out what is zero.
type sparse struct {
	f   *os.File
	off int64
}

// newSparse empties f.
func newSparse(f *os.File) (*sparse, error) {
	if err := f.Truncate(0); err != nil {
		return nil, fmt.Errorf("write file: %w", err)
	}
	return &sparse{f: f}, nil
}

func (s *sparse) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), holeSize-int(s.off%holeSize))
		if part := rest[:n]; !bytes.Equal(part, zeros[:n]) {
			if _, err := s.f.WriteAt(part, s.off); err != nil {
				return 0, fsutil.NoSpace(err)
			}
		}
		s.off += int64(n)
		rest = rest[n:]
	}
	return len(p), nil
}

// close sets the size, which zeros at the end did not.
func (s *sparse) close() error {
	if err := s.f.Truncate(s.off); err != nil {
		return fmt.Errorf("write file: %w", fsutil.NoSpace(err))
	}
	return nil
}
