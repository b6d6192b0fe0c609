package vm

import (
	"context"
	"errors"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/proc"
	"github.com/banger-dev/banger/internal/store"
)

// watchOwner removes a VM when the process ends that it belongs to, if there is one.
func (s *Service) watchOwner(ctx context.Context, r store.VMRecord) {
	if r.OwnerPID == 0 || !r.AutoRemove {
		return
	}
	stop := s.background(ctx, func(ctx context.Context) {
		if err := awaitOwner(ctx, r); err != nil {
			if ctx.Err() == nil {
				s.log.Error("owner of vm is not watched", "vm", r.ID, "pid", r.OwnerPID, "error", err)
			}
			return
		}
		s.log.Info("owner of vm has ended", "vm", r.ID, "pid", r.OwnerPID)
		s.interrupt(r.ID, errDeleted)
		// Not the watch's own context: removing the VM ends the watch.
		s.background(ctx, func(ctx context.Context) {
			err := s.exclusive(ctx, r.ID, func(ctx context.Context) error { return s.remove(ctx, r.ID) })
			if err != nil && ctx.Err() == nil {
				s.log.Error("vm is not removed", "vm", r.ID, "error", err)
			}
		})
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owners[r.ID] = stop
}

// awaitOwner returns nil when the owner has ended.
func awaitOwner(ctx context.Context, r store.VMRecord) error {
	p, err := proc.Open(r.OwnerPID, r.OwnerStart)
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.Close()
	return p.Wait(ctx)
}

func (s *Service) forgetOwner(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stop := s.owners[id]; stop != nil {
		stop()
		delete(s.owners, id)
	}
}
