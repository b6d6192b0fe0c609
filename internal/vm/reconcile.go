package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/proc"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/store"
)

const (
	adoptTime = 10 * time.Second // for a shim to say what its state is
	abreast   = 16               // VMs that are looked at at a time
)

// Reconcile brings the records in line with what is there. It is called once, before anything else: it finds the shims
// that live and watches them, records how the others ended, finishes deletions and removes what has no record. What
// goes wrong with one VM is logged and does not keep the others from being served.
func (s *Service) Reconcile(ctx context.Context) error {
	records, err := s.o.Records.VMs(ctx)
	if err != nil {
		return fmt.Errorf("reconcile vms: %w", err)
	}
	known := make(map[string]bool, len(records))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(abreast)
	for _, r := range records {
		known[r.ID] = true
		g.Go(func() error {
			if err := s.reconcile(ctx, r); err != nil {
				s.log.Error("vm is not reconciled", "vm", r.ID, "name", r.Name, "error", err)
			}
			return context.Cause(ctx)
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("reconcile vms: %w", err)
	}
	return s.sweep(context.WithoutCancel(ctx), known)
}

// reconcile brings one record in line.
func (s *Service) reconcile(ctx context.Context, r store.VMRecord) error {
	running, err := s.adopt(ctx, r.ID)
	if err != nil {
		return err
	}
	if r.Deleting {
		s.log.Info("finishing the deletion of vm", "vm", r.ID, "name", r.Name)
		return s.remove(ctx, r.ID)
	}
	if running == nil && active(r.State) {
		exit := s.exitOf(ctx, s.dir(r.ID))
		s.log.Info("vm ended unwatched", "vm", r.ID, "name", r.Name, "reason", exit.Reason)
		if r, err = s.edit(ctx, r.ID, func(r *store.VMRecord) { setEnd(&r.VM, exit) }); err != nil {
			return err
		}
	}
	if running == nil && r.AutoRemove && r.State != api.StateCreated {
		return s.remove(ctx, r.ID)
	}
	s.watchOwner(ctx, r)
	return nil
}

// adopt watches the shim of the VM id if it lives. One that does not say what its state is is killed.
func (s *Service) adopt(ctx context.Context, id string) (*run, error) {
	dir := s.dir(id)
	c, err := control.Dial(ctx, dir)
	if errors.Is(err, control.ErrGone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	_ = c.Close()
	ask, cancel := context.WithTimeout(ctx, adoptTime)
	defer cancel()
	state, err := control.NewClient(dir).State(ask)
	if err != nil {
		return nil, s.putDown(ctx, id, err)
	}
	p, err := proc.Open(state.ShimPID, 0)
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil, nil // it has just ended
	}
	if err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	r := newRun(id, dir, control.Process{PID: p.PID, Start: p.Start}, exited)
	r.state = state
	s.background(ctx, func(ctx context.Context) {
		defer p.Close()
		if err := p.Wait(ctx); err == nil {
			close(exited)
		}
	})
	s.register(ctx, r)
	s.log.Info("found a running vm", "vm", id, "shim", p.PID, "phase", state.Phase)
	return r, nil
}

// putDown kills a shim that serves its socket and does not answer.
func (s *Service) putDown(ctx context.Context, id string, why error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var p control.Processes
	if err := control.Read(s.dir(id).Processes(), &p); err != nil {
		if _, dial := control.Dial(ctx, s.dir(id)); errors.Is(dial, control.ErrGone) {
			return nil // it has ended meanwhile
		}
		return fmt.Errorf("its shim does not answer: %w", errors.Join(why, err))
	}
	s.log.Warn("killing a shim that does not answer", "vm", id, "pid", p.Shim.PID, "error", why)
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	return proc.Kill(ctx, p.Shim.PID, p.Shim.Start)
}

// sweep removes the directories that belong to no record, and ends what runs in them.
func (s *Service) sweep(ctx context.Context, known map[string]bool) error {
	entries, err := os.ReadDir(s.o.Dirs.VMs())
	if err != nil {
		return fmt.Errorf("reconcile vms: %w", err)
	}
	for _, e := range entries {
		if known[e.Name()] {
			continue
		}
		s.log.Warn("removing a vm directory without a record", "vm", e.Name())
		if err := s.removeStray(ctx, e.Name()); err != nil {
			s.log.Error("vm directory is not removed", "vm", e.Name(), "error", err)
		}
	}
	return nil
}

func (s *Service) removeStray(ctx context.Context, id string) error {
	ctx, cancel := cleanup(ctx)
	defer cancel()
	running, err := s.adopt(ctx, id)
	if err != nil {
		return err
	}
	if running != nil {
		if err := s.end(ctx, running); err != nil {
			return err
		}
	}
	s.exitOf(ctx, s.dir(id)) // a VMM without a shim is ended with this
	return s.erase(ctx, id)
}
