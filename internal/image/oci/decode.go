package oci

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/banger-dev/banger/internal/errdefs"
)

const (
	chunkSize  = 512 << 10 // bytes that are handed on at once
	chunkCount = 6         // chunks that a layer being read holds: 3 MiB
)

// decoded is the uncompressed tar of a layer. Three goroutines share the work, so that reading ahead and decompressing,
// hashing, and what the caller does run side by side.
type decoded struct {
	layer  Layer
	cancel context.CancelFunc
	cause  func() error // why ctx ended
	ready  chan chunk   // hashed, for the caller
	free   chan []byte  // buffers to fill
	work   sync.WaitGroup

	current chunk // what the caller has not read yet
	buffer  []byte
}

type chunk struct {
	data []byte
	err  error // after data
}

// decode reads what open returns and closes it.
func decode(ctx context.Context, l Layer, limits Limits, open func(context.Context) (io.ReadCloser, error)) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	stored, err := open(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	d := &decoded{
		layer: l, cancel: cancel, cause: func() error { return context.Cause(ctx) },
		ready: make(chan chunk, chunkCount), free: make(chan []byte, chunkCount),
	}
	for range chunkCount {
		d.free <- make([]byte, chunkSize)
	}
	plain := make(chan chunk, chunkCount)
	d.work.Go(func() {
		defer stored.Close()
		defer close(plain)
		d.decompress(ctx, stored, limits, plain)
	})
	d.work.Go(func() {
		defer close(d.ready)
		d.hash(ctx, plain)
	})
	return d, nil
}

// decompress fills chunks until the end, an error or ctx's end.
func (d *decoded) decompress(ctx context.Context, stored io.Reader, limits Limits, out chan<- chunk) {
	r, closeReader, err := decompressor(stored)
	if err != nil {
		send(ctx, out, chunk{err: err})
		return
	}
	defer closeReader()
	var total int64
	limit := min(limits.Layer, limits.Free+limits.Ratio*min(d.layer.Size, limits.Layer/limits.Ratio+1))
	for {
		buffer, ok := receive(ctx, d.free)
		if !ok {
			return
		}
		n, err := fill(r, buffer)
		if total += int64(n); total > limit {
			send(ctx, out, chunk{err: errdefs.New(errdefs.ErrInvalid, "its %d bytes become more than %d", d.layer.Size, limit)})
			return
		}
		if err != nil {
			err = verdict(stored, err)
		}
		if !send(ctx, out, chunk{data: buffer[:n], err: err}) || err != nil {
			return
		}
	}
}

// fill is io.ReadFull without its own errors: a stream that was cut must not look like one that ended.
func fill(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	return n, err
}

// verdict reads what is stored after the compressed data, because the digest covers it too. EOF is good. When the data were
// broken, the better reason is that they are not what was asked for.
func verdict(stored io.Reader, err error) error {
	end := err == io.EOF                                  //nolint:errorlint // a reader's EOF is not wrapped
	if !end && errdefs.Class(err) != errdefs.ErrInvalid { //nolint:errorlint // Class returns the class itself
		return err
	}
	_, rest := io.Copy(io.Discard, stored)
	if rest != nil && (end || errors.Is(rest, errMismatch)) {
		return rest
	}
	return err
}

// hash passes chunks on and replaces EOF by an error when the diff id is wrong.
func (d *decoded) hash(ctx context.Context, plain <-chan chunk) {
	h, err := v1.Hasher(d.layer.diffID.Algorithm)
	if err != nil {
		send(ctx, d.ready, chunk{err: errdefs.As(errdefs.ErrInvalid, err)})
		return
	}
	for {
		c, ok := receive(ctx, plain)
		if !ok {
			return
		}
		h.Write(c.data)
		if c.err == io.EOF { //nolint:errorlint // the decompressor's own
			c.err = d.checkDiffID(h)
		}
		if !send(ctx, d.ready, c) {
			return
		}
	}
}

func (d *decoded) checkDiffID(h hash.Hash) error {
	if got := sum(d.layer.diffID.Algorithm, h); got != d.layer.diffID {
		return fmt.Errorf("uncompressed: %w", errDigest(d.layer.diffID, got))
	}
	return io.EOF
}

// Read implements io.Reader. Its errors name the layer.
func (d *decoded) Read(p []byte) (int, error) {
	for len(d.current.data) == 0 {
		if d.current.err != nil {
			return 0, d.current.err
		}
		if d.buffer != nil {
			d.free <- d.buffer[:chunkSize] // has room: there are chunkCount buffers
			d.buffer = nil
		}
		c, ok := <-d.ready
		if !ok {
			return 0, d.fail(d.cause())
		}
		if c.err != nil && c.err != io.EOF { //nolint:errorlint // checkDiffID's own
			c.err = d.fail(c.err)
		}
		d.current = c
		if cap(c.data) > 0 {
			d.buffer = c.data[:0]
		}
	}
	n := copy(p, d.current.data)
	d.current.data = d.current.data[n:]
	return n, nil
}

func (d *decoded) fail(err error) error {
	return fmt.Errorf("layer %s: %w", short(d.layer.descriptor.Digest), err)
}

// Close ends the goroutines and waits for them.
func (d *decoded) Close() error {
	d.cancel()
	d.work.Wait()
	return nil
}

func send[T any](ctx context.Context, c chan<- T, v T) bool {
	select {
	case c <- v:
		return true
	case <-ctx.Done():
		return false
	}
}

func receive[T any](ctx context.Context, c <-chan T) (T, bool) {
	select {
	case v, ok := <-c:
		return v, ok
	case <-ctx.Done():
		var zero T
		return zero, false
	}
}
