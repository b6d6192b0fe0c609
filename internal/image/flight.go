package image

import (
	"context"
	"log/slog"
	"sync"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/op"
)

// flights lets callers that ask for the same thing at the same time share one piece of work. The work goes on until it
// is done or the last of its callers has given up. The zero value is ready.
type flights struct {
	mu     sync.Mutex
	all    map[string]*flight
	joined func() // for tests, may be nil: called when a caller is on a flight
}

// flight is one piece of work with its callers.
type flight struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
	image  api.Image // valid once done is closed, as is err
	err    error

	mu        sync.Mutex
	callers   map[*op.Operation]int
	abandoned bool // the last caller is gone: nobody may join any more
}

// do returns what work returns, which is run once for all callers of the same key that come before it ends. Its progress
// is reported to the operations of all of them. A caller whose ctx ends leaves at once when others stay; the last one
// ends the work and waits until it has cleared up.
func (f *flights) do(ctx context.Context, log *slog.Logger, key, subject string, work func(context.Context) (api.Image, error)) (api.Image, error) {
	for ctx.Err() == nil {
		fl, joined := f.board(ctx, log, key, subject, work)
		if joined && f.joined != nil {
			f.joined()
		}
		select {
		case <-fl.done:
			if joined {
				fl.leave(ctx)
				return fl.image, fl.err
			}
		case <-ctx.Done():
			if joined && fl.leave(ctx) {
				fl.cancel(context.Cause(ctx))
				<-fl.done
			}
		}
	}
	return api.Image{}, context.Cause(ctx)
}

// board joins the flight of key, or starts one. It does not join one that everybody has left and that is about to end.
func (f *flights) board(ctx context.Context, log *slog.Logger, key, subject string, work func(context.Context) (api.Image, error)) (fl *flight, joined bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fl := f.all[key]; fl != nil {
		return fl, fl.join(ctx)
	}
	if f.all == nil {
		f.all = map[string]*flight{}
	}
	inner, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	fl = &flight{done: make(chan struct{}), cancel: cancel, callers: map[*op.Operation]int{}}
	f.all[key] = fl
	inner, o := op.Start(inner, log, "shared pull", subject, fl.report)
	go func() {
		defer cancel(nil)
		fl.image, fl.err = work(inner)
		o.End(fl.err)
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.all, key)
		close(fl.done)
	}()
	return fl, fl.join(ctx)
}

func (fl *flight) join(ctx context.Context) bool {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if fl.abandoned {
		return false
	}
	fl.callers[op.From(ctx)]++
	return true
}

// leave tells whether the caller was the last one.
func (fl *flight) leave(ctx context.Context) (last bool) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	o := op.From(ctx)
	if fl.callers[o]--; fl.callers[o] <= 0 {
		delete(fl.callers, o)
	}
	fl.abandoned = len(fl.callers) == 0
	return fl.abandoned
}

// report passes progress on to every caller that is still there.
func (fl *flight) report(e op.Event) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	for o := range fl.callers {
		o.Relay(e)
	}
}
