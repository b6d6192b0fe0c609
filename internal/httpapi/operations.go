package httpapi

import (
	"context"
	"sync"

	"github.com/banger-dev/banger/internal/errdefs"
)

// operations are the running ones, by id, so that they can be cancelled.
type operations struct {
	mu      sync.Mutex
	cancels map[string]context.CancelCauseFunc
}

// add registers an operation and returns the function that forgets it.
func (o *operations) add(id string, cancel context.CancelCauseFunc) (forget func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cancels == nil {
		o.cancels = map[string]context.CancelCauseFunc{}
	}
	o.cancels[id] = cancel
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.cancels, id)
	}
}

func (o *operations) cancel(id string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	cancel, ok := o.cancels[id]
	if !ok {
		return errdefs.New(errdefs.ErrNotFound, "operation %q is not running", id)
	}
	cancel(context.Canceled)
	return nil
}

func (o *operations) cancelAll(cause error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, cancel := range o.cancels {
		cancel(cause)
	}
}
