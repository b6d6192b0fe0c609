package vm

import (
	"context"
	"errors"
	"fmt"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/store"
)

// Delete removes a VM with its files. One that runs is errdefs.ErrState unless the request says to kill it. Once begun,
// a deletion is finished whatever happens to ctx, and by the next service should this one be killed.
func (s *Service) Delete(ctx context.Context, reference string, req api.DeleteRequest) error {
	r, err := s.resolve(ctx, reference)
	if err != nil {
		return fmt.Errorf("delete vm: %w", err)
	}
	if err := s.deletable(r, req.Force); err != nil {
		return fmt.Errorf("delete vm %s: %w", r.Name, err)
	}
	s.interrupt(r.ID, errDeleted)
	err = s.exclusive(ctx, r.ID, func(ctx context.Context) error {
		if err := s.deletable(r, req.Force); err != nil {
			return err
		}
		ctx, cancel := cleanup(ctx)
		defer cancel()
		return s.remove(ctx, r.ID)
	})
	if err != nil {
		return fmt.Errorf("delete vm %s: %w", r.Name, err)
	}
	return nil
}

func (s *Service) deletable(r store.VMRecord, force bool) error {
	vm := s.view(r)
	if force || s.current(r.ID) == nil && !active(vm.State) {
		return nil
	}
	return errdefs.WithHint(errdefs.New(errdefs.ErrState, "it is %s", vm.State),
		"stop it first with `banger stop %s`, or kill and delete it with --force", r.Name)
}

// remove ends what runs of a VM and erases it. The caller holds its lock. One that is gone is no error.
func (s *Service) remove(ctx context.Context, id string) error {
	_, err := s.edit(ctx, id, func(r *store.VMRecord) { r.Deleting = true })
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	s.at("delete.marked")
	if running := s.current(id); running != nil {
		running.setKeep(true) // it is being removed already
		if err := s.end(ctx, running); err != nil {
			return err
		}
	}
	s.at("delete.ended")
	if err := s.erase(ctx, id); err != nil {
		return err
	}
	s.at("delete.done")
	s.forgetOwner(id)
	return nil
}

// autoRemove removes a VM that was to be removed when it stops.
func (s *Service) autoRemove(ctx context.Context, id string) {
	err := s.exclusive(ctx, id, func(ctx context.Context) error {
		if s.current(id) != nil {
			return nil // it was started again
		}
		return s.remove(ctx, id)
	})
	if err != nil && ctx.Err() == nil {
		s.log.Error("vm is not removed", "vm", id, "error", err)
	}
}
