package api

import (
	"context"
	"sync"
	"time"
)

// canceller stops an operation whose id is known only once its first event has come.
type canceller struct {
	client *Client
	drop   context.CancelFunc // ends the request itself, the last resort

	mu        sync.Mutex
	id        string
	cancelled bool
}

// cancel asks the operation to stop. Without an id there is nothing on its way that could be asked politely, unless the
// first event comes within the grace.
func (k *canceller) cancel(ctx context.Context) {
	k.mu.Lock()
	k.cancelled = true
	id := k.id
	k.mu.Unlock()
	time.AfterFunc(cancelGrace, k.drop) // dropping a request that is over does nothing
	if id != "" {
		k.ask(ctx, id)
	}
}

// started returns a Progress that learns the operation's id from its first event and passes the others on.
func (k *canceller) started(ctx context.Context, progress Progress) Progress {
	return func(e Event) {
		if k.learn(e.Operation) {
			k.ask(ctx, e.Operation)
		}
		if progress != nil && (e.Stage != "" || e.Warning != "") {
			progress(e)
		}
	}
}

// learn stores the id and tells whether the operation was cancelled before it was known.
func (k *canceller) learn(id string) (ask bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	ask = k.id == "" && k.cancelled
	k.id = id
	return ask
}

func (k *canceller) ask(ctx context.Context, id string) {
	if err := k.client.CancelOperation(ctx, id); err != nil {
		k.drop() // a daemon that cannot be asked sees at least that the caller is gone
	}
}
