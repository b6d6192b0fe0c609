package vm

import (
	"context"

	"github.com/banger-dev/banger/internal/errdefs"
)

// Why an operation was called off by another.
var (
	errStopped = errdefs.New(errdefs.ErrState, "it was stopped while it was starting")
	errDeleted = errdefs.New(errdefs.ErrNotFound, "it was deleted while it was starting")
)

// exclusive runs f while nothing else starts, restarts or deletes the VM id. Another operation may call f off, by
// interrupt: the cause of the end of f's context says which.
func (s *Service) exclusive(ctx context.Context, id string, f func(ctx context.Context) error) error {
	unlock, err := s.locks.Lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.mu.Lock()
	s.busy[id] = cancel
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.busy, id)
	}()
	return f(ctx)
}

// interrupt calls off what is being done to the VM id, if anything.
func (s *Service) interrupt(id string, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel := s.busy[id]; cancel != nil {
		cancel(cause)
	}
}

// settle calls off what is being done to the VM id, waits until that is undone, and returns the run that is on, or nil.
func (s *Service) settle(ctx context.Context, id string, cause error) (*run, error) {
	s.interrupt(id, cause)
	unlock, err := s.locks.Lock(ctx, id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return s.current(id), nil
}

func (s *Service) current(id string) *run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs[id]
}
