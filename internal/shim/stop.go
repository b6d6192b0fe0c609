package shim

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/vmm"
)

// wish is what callers have asked of a run. A later wish is stronger.
type wish int

const (
	nothing   wish = iota
	stopping       // the guest is asked to end
	escalated      // it did not, and its VMM is killed
	killing        // the VMM is killed, the guest was not asked first
)

// askTimeout bounds the call that asks a guest to end.
const askTimeout = 10 * time.Second

var errAsked = errdefs.New(errdefs.ErrState, "the vm was asked to end while it was starting")

// wishes remembers what was asked, and how to make it come true.
type wishes struct {
	giveUp context.CancelCauseFunc // ends a boot; set before anybody can wish

	mu      sync.Mutex
	wish    wish
	machine vmm.Machine // nil before it is prepared
	reason  string      // why it was escalated
}

func (w *wishes) set(m vmm.Machine) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.machine = m
}

func (w *wishes) get() (wish, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wish, w.reason
}

// raise makes the wish at least to, and tells whether that changed it.
func (w *wishes) raise(to wish, reason string) (vmm.Machine, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wish >= to {
		return w.machine, false
	}
	w.wish, w.reason = to, reason
	return w.machine, true
}

// stop asks the guest to end, once, and sees to it that the VMM is killed when it has not ended after timeout.
// It does not wait, and goes on when ctx ends. Of several callers the most impatient one has its way.
func (s *shim) stop(ctx context.Context, timeout time.Duration) {
	if machine, first := s.wishes.raise(stopping, ""); first {
		s.log.Info("stopping", "timeout", timeout)
		go s.ask(context.WithoutCancel(ctx), machine)
	}
	go func() {
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		select {
		case <-timer.C:
			s.escalate("the guest did not end within " + timeout.String())
		case <-s.ended:
		}
	}()
}

// ask asks the guest to end by the ways there are: its agent, then the machine's power button. A guest that cannot be
// asked is not waited for.
func (s *shim) ask(ctx context.Context, machine vmm.Machine) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	s.at("stopping")
	switch s.board.get().Phase {
	case control.Ended:
		return
	case control.Starting: // nothing in it has begun to work
		s.wishes.giveUp(errAsked)
		return
	case control.Paused:
		if err := s.resume(ctx); err != nil {
			s.escalate("the guest is paused and cannot be resumed: " + err.Error())
			return
		}
	case control.Running:
	}
	err := errors.New("there is no session with its agent")
	if agent := s.link.now(); agent != nil {
		err = agent.Shutdown(ctx, proto.ShutdownRequest{})
	}
	if err == nil {
		return
	}
	s.log.Warn("agent cannot be asked to shut down", "error", err)
	if endsSoon(machine) { // which is why there was no answer
		return
	}
	if button := machine.PowerButton(ctx); button != nil {
		s.escalate("the guest could not be asked to end: " + err.Error())
	}
}

func endsSoon(machine vmm.Machine) bool {
	timer := time.NewTimer(linkGrace)
	defer timer.Stop()
	select {
	case <-machine.Done():
		return true
	case <-timer.C:
		return false
	}
}

func (s *shim) escalate(reason string) {
	machine, first := s.wishes.raise(escalated, reason)
	if !first || machine == nil {
		return
	}
	s.log.Warn("killing the vmm", "reason", reason)
	s.endMachine(machine)
}

// kill ends the VMM at once. It does not wait.
func (s *shim) kill() {
	machine, first := s.wishes.raise(killing, "")
	if !first {
		return
	}
	s.log.Info("killing the vmm", "reason", "asked to")
	s.wishes.giveUp(errAsked)
	if machine != nil {
		s.endMachine(machine)
	}
}

func (s *shim) endMachine(machine vmm.Machine) {
	if err := machine.Kill(); err != nil {
		s.log.Error("cannot kill the vmm", "error", err)
	}
}

func (s *shim) pause(ctx context.Context) error {
	return s.hold(ctx, control.Running, paused, vmm.Machine.Pause)
}

func (s *shim) resume(ctx context.Context) error {
	return s.hold(ctx, control.Paused, resumed, vmm.Machine.Resume)
}

// hold pauses or resumes. Doing again what was done is no error.
func (s *shim) hold(ctx context.Context, from control.Phase, e event, act func(vmm.Machine, context.Context) error) error {
	phase := s.board.get().Phase
	if phase == phases[from][e] {
		return nil
	}
	if phase != from {
		return errdefs.New(errdefs.ErrState, "the vm is %s", phase)
	}
	s.wishes.mu.Lock()
	machine := s.wishes.machine
	s.wishes.mu.Unlock()
	if err := act(machine, ctx); err != nil {
		return err
	}
	return s.board.step(e, func(*control.State) {})
}
