package httpapi

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
)

// operations are the running ones, by id, so that they can be listed and cancelled.
type operations struct {
	mu  sync.Mutex
	all map[string]*running
}

// running is one operation.
type running struct {
	cancel context.CancelCauseFunc

	mu   sync.Mutex
	info api.Operation
}

func newRunning(kind, subject string, cancel context.CancelCauseFunc) *running {
	return &running{cancel: cancel, info: api.Operation{Kind: kind, Subject: subject, StartedAt: time.Now().UTC()}}
}

// report keeps what the operation last said of itself.
func (r *running) report(e api.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.info.Last = e
}

func (r *running) look() api.Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.info
	o.Last.Operation = o.ID
	return o
}

// add registers an operation and returns the function that forgets it.
func (o *operations) add(id string, r *running) (forget func()) {
	r.mu.Lock()
	r.info.ID = id
	r.mu.Unlock()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = map[string]*running{}
	}
	o.all[id] = r
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.all, id)
	}
}

// list returns the running operations, the oldest first.
func (o *operations) list() []api.Operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []api.Operation
	for _, r := range o.all {
		all = append(all, r.look())
	}
	slices.SortFunc(all, func(a, b api.Operation) int { return a.StartedAt.Compare(b.StartedAt) })
	return all
}

func (o *operations) cancel(id string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	r, ok := o.all[id]
	if !ok {
		return errdefs.New(errdefs.ErrNotFound, "operation %q is not running", id)
	}
	r.cancel(context.Canceled)
	return nil
}

func (o *operations) cancelAll(cause error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.all {
		r.cancel(cause)
	}
}
