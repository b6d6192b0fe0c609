package oci

import (
	"context"
	"io"
	"sync"
)

// follower reads a blob while it is being downloaded. It sees EOF only when the digest was right.
type follower struct {
	ctx    context.Context //nolint:containedctx // an io.Reader has no other way to give up
	t      *transfer
	leave  func()
	offset int64
}

func (ts *transfers) follow(ctx context.Context, t *transfer) *follower {
	return &follower{ctx: ctx, t: t, leave: sync.OnceFunc(func() { ts.leave(t) })}
}

// Read implements io.Reader. It waits for more bytes until ctx ends.
func (f *follower) Read(p []byte) (int, error) {
	for {
		n, moved, err := f.try(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		select {
		case <-moved:
		case <-f.ctx.Done():
			return 0, context.Cause(f.ctx)
		}
	}
}

// try reads what is there. Without an error and a byte, there will be more when moved is closed.
func (f *follower) try(p []byte) (n int, moved <-chan struct{}, err error) {
	t := f.t
	t.mu.Lock()
	moved = t.moved
	there := t.written - f.offset
	switch {
	case t.err != nil && !t.sound:
		err = t.err
	case there == 0 && t.sound:
		err = io.EOF
	case there > 0:
		t.read = true
	}
	file := t.file
	t.mu.Unlock()
	if err != nil || there <= 0 {
		return 0, moved, err
	}
	n, err = file.ReadAt(p[:min(int64(len(p)), there)], f.offset)
	f.offset += int64(n)
	return n, moved, err
}

// Close ends the use of the transfer.
func (f *follower) Close() error {
	f.leave()
	return nil
}

// wait reports what arrives to count, which gets the bytes since its last call, until the blob is in the cache.
func (t *transfer) wait(ctx context.Context, count func(n int64)) error {
	var seen int64
	for {
		t.mu.Lock()
		moved, written, err := t.moved, t.written, t.err
		t.mu.Unlock()
		if written > seen { // it is less after a new start
			count(written - seen)
			seen = written
		}
		if err != nil {
			return err
		}
		select {
		case <-t.over:
			return t.outcome()
		default:
		}
		select {
		case <-moved:
		case <-t.over:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// outcome is how a transfer that is over ended.
func (t *transfer) outcome() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}
