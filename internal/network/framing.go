package network

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"gvisor.dev/gvisor/pkg/buffer"
)

// errFrame is the class of violations of the framing. The stream cannot be trusted after one.
var errFrame = errors.New("malformed frame")

// readAhead is how much is read from the link at once, in bytes. Larger frames go straight to their own buffer.
const readAhead = 32 << 10

// frameReader takes Ethernet frames from a stream in which each follows its length, a big-endian uint32.
// QEMU speaks so with -netdev stream.
type frameReader struct {
	r *bufio.Reader
}

func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, readAhead)}
}

// next returns the next frame in a pooled buffer, which the caller must release or give away.
// The error is io.EOF only between two frames.
func (f *frameReader) next() (*buffer.View, error) {
	var prefix [4]byte
	if _, err := io.ReadFull(f.r, prefix[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(prefix[:])
	if size < etherHeader || size > maxFrame {
		return nil, fmt.Errorf("%w: length %d is not between %d and %d", errFrame, size, etherHeader, maxFrame)
	}
	frame := buffer.NewViewSize(int(size))
	if _, err := io.ReadFull(f.r, frame.AsSlice()); err != nil {
		frame.Release()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return frame, nil
}
