package daemon

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/banger-dev/banger/internal/daemon/flock"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/httpapi"
)

const (
	// finishTime is what running operations get to finish when the daemon leaves; then they are cancelled.
	finishTime = 10 * time.Second
	// undoTime is what cancelled operations get to undo what they did.
	undoTime = 30 * time.Second
)

// errLeaving is what operations are told that do not finish in time.
var errLeaving = errdefs.WithHint(errdefs.New(errdefs.ErrUnavailable, "the daemon was stopped"), "try again; the next command starts a daemon")

// withdraw stops serving so that a successor can begin as early as possible: new connections are refused, operations
// finish or are cancelled, the services and the store close, the lock is freed. What remains are exec and console
// streams, for which this process only copies bytes: it stays until they end or force closes.
func (d *daemon) withdraw(server *http.Server, handler *httpapi.Server, lock *flock.Lock, force <-chan struct{}) error {
	log := d.options.Log
	log.Info("daemon leaves")
	stopped := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { stopped <- server.Shutdown(ctx) }() // closes the listener first
	if !within(handler.Requests(), finishTime, force) {
		handler.CancelOperations(errLeaving)
		if !within(handler.Requests(), undoTime, force) {
			log.Warn("operations are still running; the next daemon clears up after them")
		}
	}
	err := errors.Join(d.services.close(), lock.Release())
	log.Info("daemon has let go of its state")
	select {
	case <-handler.Streams():
	case <-force:
	}
	cancel()
	return errors.Join(err, ignoreCancelled(<-stopped), server.Close())
}

// within waits for done and tells whether it came in time.
func within(done <-chan struct{}, limit time.Duration, force <-chan struct{}) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
	case <-force:
	}
	return false
}

// ignoreCancelled: that streams were still open is what cancel was for.
func ignoreCancelled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
