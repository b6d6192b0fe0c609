package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	chunkSize = 256 << 10
	holeSize  = 64 << 10 // a part of this size, aligned, that is all zeros becomes a hole
	maxSize   = (1<<32 - 1) * blockSize
)

var zeros [holeSize]byte

// eof is the content of a file that is given none.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// store reads size bytes and returns where it put them.
func (w *Writer) store(content io.Reader, size int64) ([]extent, error) {
	if content == nil {
		content = eof{}
	}
	list := w.extents[:0]
	for done := int64(0); done < size; {
		n := int(min(size-done, chunkSize))
		if _, err := io.ReadFull(content, w.chunk[:n]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return list, fmt.Errorf("read content after %d of %d bytes: %w", done, size, err)
		}
		var err error
		if list, err = w.storeChunk(list, uint32(done/blockSize), w.chunk[:n]); err != nil {
			return list, err
		}
		done += int64(n)
	}
	return list, nil
}

// storeChunk writes the parts of p that are not holes, as the blocks of a file from logical on.
func (w *Writer) storeChunk(list []extent, logical uint32, p []byte) ([]extent, error) {
	for len(p) > 0 {
		n := 0
		for n < len(p) && !isHole(p[n:]) {
			n = min(n+holeSize, len(p))
		}
		var err error
		if list, err = w.storeData(list, logical, p[:n]); err != nil {
			return list, err
		}
		if n < len(p) {
			n = min(n+holeSize, len(p))
		}
		logical += uint32(ceilDiv(uint64(n), blockSize))
		p = p[n:]
	}
	return list, nil
}

// isHole reports whether the next part of p is all zeros.
func isHole(p []byte) bool {
	n := min(len(p), holeSize)
	return bytes.Equal(p[:n], zeros[:n])
}

func (w *Writer) storeData(list []extent, logical uint32, p []byte) ([]extent, error) {
	for len(p) > 0 {
		r, err := w.alloc.alloc(ceilDiv(uint64(len(p)), blockSize))
		if err != nil {
			return list, err
		}
		list = appendExtent(list, logical, r)
		logical += uint32(r.n)
		for i := range r.n {
			n := min(len(p), blockSize)
			if err := w.dev.writeBlock(r.start+i, p[:n]); err != nil {
				return list, err
			}
			p = p[n:]
		}
	}
	return list, nil
}
