package oci

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/fsutil"
)

const (
	transferBuffer = 256 << 10 // bytes that are read at once
	progress       = 64 << 10  // bytes that a connection must give to count as a success
)

// remote gives a blob from an offset on. It may give it from an earlier one, as servers without ranges do.
// validator is what an earlier segment had, or empty.
type remote func(ctx context.Context, d v1.Descriptor, offset int64, validator string) (*segment, error)

type segment struct {
	body      io.ReadCloser
	offset    int64 // of the first byte of body
	validator string
}

// transfers are the downloads that run: at most one for each blob, whoever wants it.
type transfers struct {
	store *store
	log   *slog.Logger
	retry retryPolicy

	mu     sync.Mutex
	active map[v1.Hash]*transfer
}

// transfer is one download into a partial file. It runs in a goroutine of its own, for as long as somebody uses it: one
// user who gives up does not take it away from the others.
type transfer struct {
	store  *store
	log    *slog.Logger
	retry  retryPolicy
	d      v1.Descriptor
	remote remote
	cancel context.CancelFunc
	users  int           // guarded by transfers.mu
	over   chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	moved   chan struct{} // closed, and replaced, whenever something below changes
	file    *os.File      // nil at first
	written int64         // bytes of file that are there and hashed
	read    bool          // somebody has read some
	sound   bool          // all is there and has its digest
	err     error
}

// join returns the running transfer of d, or starts it, or returns nil when the blob is in the cache.
// The caller calls leave with what it got.
func (ts *transfers) join(ctx context.Context, d v1.Descriptor, r remote) (*transfer, error) {
	for {
		t, gone := ts.tryJoin(ctx, d, r)
		if gone == nil {
			return t, nil
		}
		select { // the transfer that was given up lets go of its file
		case <-gone:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (ts *transfers) tryJoin(ctx context.Context, d v1.Descriptor, r remote) (t *transfer, gone <-chan struct{}) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t = ts.active[d.Digest]; t != nil {
		if t.users == 0 {
			return nil, t.over
		}
		t.users++
		return t, nil
	}
	if ts.store.has(d) {
		return nil, nil
	}
	if ts.active == nil {
		ts.active = make(map[v1.Hash]*transfer)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // others may join
	t = &transfer{
		store: ts.store, log: ts.log, retry: ts.retry, d: d, remote: r, cancel: cancel, users: 1,
		over: make(chan struct{}), moved: make(chan struct{}),
	}
	ts.active[d.Digest] = t
	go func() {
		defer close(t.over)
		defer cancel()
		err := t.run(ctx)
		ts.mu.Lock()
		delete(ts.active, d.Digest) // before anyone learns that it is over
		ts.mu.Unlock()
		t.change(func() { t.err = err })
	}()
	return t, nil
}

// leave ends the use of t. The last one to leave ends the transfer and waits for that.
func (ts *transfers) leave(t *transfer) {
	ts.mu.Lock()
	t.users--
	last := t.users == 0
	ts.mu.Unlock()
	if !last {
		return
	}
	t.cancel()
	<-t.over
	if t.file != nil {
		t.file.Close()
	}
}

func (t *transfer) change(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
	close(t.moved)
	t.moved = make(chan struct{})
}

// run brings the blob into the cache. What it has when it fails stays for the next one, but for wrong content.
func (t *transfer) run(ctx context.Context) error {
	f, err := t.store.claim(t.d.Digest)
	if err != nil {
		return err
	}
	defer unlock(f)
	t.change(func() { t.file = f })
	h, err := t.resume(ctx, f)
	if err != nil {
		return err
	}
	resumed := t.written > 0
	if err := t.download(ctx, f, h); err != nil {
		return t.spoiled(f, err)
	}
	err = t.check(h)
	if err != nil && resumed && t.rewind(f) {
		// The part that was there may be to blame: power was lost before it reached the disk.
		t.log.Warn("resumed download had wrong content, starting again", "blob", short(t.d.Digest))
		h.Reset()
		if err = t.download(ctx, f, h); err == nil {
			err = t.check(h)
		}
	}
	if err != nil {
		return t.spoiled(f, err)
	}
	t.change(func() { t.sound = true })
	return t.store.publish(f, t.d.Digest)
}

// unlock lets others claim the file at once: users of the transfer may keep it open for a while.
func unlock(f *os.File) { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) } // closing would do it too

// resume hashes what an earlier download has left, which can be read meanwhile.
func (t *transfer) resume(ctx context.Context, f *os.File) (hash.Hash, error) {
	h, err := v1.Hasher(t.d.Digest.Algorithm)
	if err != nil {
		return nil, errdefs.As(errdefs.ErrInvalid, err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > t.d.Size {
		return h, f.Truncate(0)
	}
	buf := make([]byte, transferBuffer)
	for t.written < info.Size() {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		n, err := f.ReadAt(buf[:min(int64(len(buf)), info.Size()-t.written)], t.written)
		if err != nil {
			return nil, err
		}
		h.Write(buf[:n])
		t.change(func() { t.written += int64(n) })
	}
	if t.written > 0 {
		t.log.Info("download goes on", "blob", short(t.d.Digest), "have", t.written, "size", t.d.Size)
	}
	return h, nil
}

// rewind begins again with an empty file, unless somebody has read what was in it.
func (t *transfer) rewind(f *os.File) bool {
	again := false
	t.change(func() {
		if again = !t.read && f.Truncate(0) == nil; again {
			t.written = 0
		}
	})
	return again
}

// spoiled removes the partial file when its content is to blame for err.
func (t *transfer) spoiled(f *os.File, err error) error {
	if errors.Is(err, errMismatch) {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return err
}

func (t *transfer) check(h hash.Hash) error {
	if got := sum(t.d.Digest.Algorithm, h); got != t.d.Digest {
		return errdefs.WithHint(errDigest(t.d.Digest, got), "what was downloaded has been removed; pull again")
	}
	return nil
}

// download reads segments until all is there. A connection that breaks is replaced by one that asks for the rest; only
// several in a row that bring nothing end it.
func (t *transfer) download(ctx context.Context, f *os.File, h hash.Hash) error {
	validator := ""
	for failures := 0; t.written < t.d.Size; {
		before := t.written
		v, err := t.segment(ctx, f, h, validator)
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errdefs.Class(err) != nil { // the registry's word, a full disk: no cut
			return err
		}
		validator = v
		if failures++; t.written-before >= progress {
			failures = 1
		}
		if failures >= t.retry.attempts {
			return errdefs.New(errdefs.ErrUnavailable, "download ended %d times in a row, the last time at %d of %d bytes: %w",
				failures, t.written, t.d.Size, scrubError(err))
		}
		t.log.Info("download was cut", "blob", short(t.d.Digest), "have", t.written, "size", t.d.Size, "error", scrubError(err))
		if err := t.retry.pause(ctx, t.retry.backoff(failures)); err != nil {
			return err
		}
	}
	return nil
}

// segment reads one response. An end before the blob's is an error.
func (t *transfer) segment(ctx context.Context, f *os.File, h hash.Hash, validator string) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s, err := t.remote(ctx, t.d, t.written, validator)
	if err != nil {
		return validator, err
	}
	defer s.body.Close()
	stalled := time.AfterFunc(t.retry.stall, func() { cancel(fmt.Errorf("nothing came for %s", t.retry.stall)) })
	defer stalled.Stop()
	skip := t.written - s.offset // a server without ranges begins again
	buf := make([]byte, transferBuffer)
	for {
		n, err := s.body.Read(buf)
		stalled.Reset(t.retry.stall)
		data := buf[:n]
		cut := min(skip, int64(n))
		skip, data = skip-cut, data[cut:]
		if err := t.append(f, h, data); err != nil {
			return s.validator, err
		}
		switch {
		case err == io.EOF && t.written == t.d.Size:
			return s.validator, nil
		case err == io.EOF:
			return s.validator, io.ErrUnexpectedEOF
		case err != nil && ctx.Err() != nil:
			return s.validator, context.Cause(ctx)
		case err != nil && t.written == t.d.Size:
			return s.validator, nil // broken at its end, which does not matter
		case err != nil:
			return s.validator, err
		}
	}
}

func (t *transfer) append(f *os.File, h hash.Hash, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	if t.written+int64(len(data)) > t.d.Size {
		return errdefs.New(errdefs.ErrInvalid, "%w: it has more than %d bytes", errMismatch, t.d.Size)
	}
	if _, err := f.WriteAt(data, t.written); err != nil {
		return fsutil.NoSpace(fmt.Errorf("write %s: %w", f.Name(), err))
	}
	h.Write(data)
	t.change(func() { t.written += int64(len(data)) })
	return nil
}
