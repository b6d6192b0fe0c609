package ext4fs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// content returns the bytes of a file, a directory or a long symbolic link.
func (f *FS) content(n *inode) (io.Reader, error) {
	if n.flags&flagInline == 0 {
		return &reader{fs: f, runs: f.mapper(n), size: n.size}, nil
	}
	rest, err := f.inlineRest(n)
	if err != nil {
		return nil, err
	}
	b := append(bytes.Clone(n.field()), rest...)
	if n.size > int64(len(b)) {
		return nil, damaged("inode %d has %d bytes of %d", n.ino, len(b), n.size)
	}
	return bytes.NewReader(b[:n.size]), nil
}

// reader reads a file that is mapped to blocks. Holes are zeros.
type reader struct {
	fs        *FS
	runs      mapper
	size, off int64
	cur       span
	ended     bool // there are no runs after cur
}

// span is a run in bytes.
type span struct {
	off, end int64
	at       int64 // in the file of the file system
	zero     bool
}

func (r *reader) Read(p []byte) (int, error) {
	if r.off >= r.size {
		return 0, io.EOF
	}
	for r.cur.end <= r.off && !r.ended {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	end := r.size
	hole := r.cur.end <= r.off
	switch {
	case hole:
	case r.cur.off > r.off:
		hole, end = true, min(end, r.cur.off)
	default:
		hole, end = r.cur.zero, min(end, r.cur.end)
	}
	p = p[:min(int64(len(p)), end-r.off)]
	if hole {
		clear(p)
	} else if _, err := r.fs.r.ReadAt(p, r.cur.at+r.off-r.cur.off); err != nil {
		return 0, fmt.Errorf("read blocks: %w", noEOF(err))
	}
	r.off += int64(len(p))
	return len(p), nil
}

func (r *reader) next() error {
	run, err := r.runs.next()
	if errors.Is(err, io.EOF) {
		r.ended = true
		return nil
	}
	if err != nil {
		return err
	}
	r.cur = r.fs.span(run)
	return nil
}

func (f *FS) span(r run) span {
	size := f.super.blockSize
	return span{int64(r.logical) * size, int64(r.logical+r.n) * size, int64(r.block) * size, r.zero}
}

// data calls visit for each part of a file that is not a hole, in order.
func (f *FS) data(n *inode, visit func(off, size int64) error) error {
	if n.flags&flagInline != 0 {
		if n.size == 0 {
			return nil
		}
		return visit(0, n.size)
	}
	var part span
	flush := func() error {
		if end := min(part.end, n.size); end > part.off {
			return visit(part.off, end-part.off)
		}
		return nil
	}
	for runs := f.mapper(n); ; {
		r, err := runs.next()
		if errors.Is(err, io.EOF) {
			return flush()
		}
		if err != nil {
			return err
		}
		s := f.span(r)
		switch {
		case s.zero:
		case s.off == part.end && part.end > part.off:
			part.end = s.end
		default:
			if err := flush(); err != nil {
				return err
			}
			part = s
		}
	}
}
