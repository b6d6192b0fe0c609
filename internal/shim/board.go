package shim

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/shim/control"
)

// event is what moves a run from one phase to another.
type event string

const (
	identified event = "identified" // the guest has its identity
	paused     event = "paused"
	resumed    event = "resumed"
	over       event = "over"
)

// phases is the state machine of a run.
var phases = map[control.Phase]map[event]control.Phase{
	control.Starting: {identified: control.Running, over: control.Ended},
	control.Running:  {identified: control.Running, paused: control.Paused, over: control.Ended},
	control.Paused:   {identified: control.Paused, paused: control.Paused, resumed: control.Running, over: control.Ended},
	control.Ended:    {},
}

// board shows the state of the run to whoever watches.
type board struct {
	mu       sync.Mutex
	state    control.State
	stage    time.Time // when the current stage began
	watchers map[chan struct{}]struct{}
}

func newBoard() *board {
	now := time.Now()
	return &board{
		state:    control.State{Phase: control.Starting, Stage: control.StageVMM, StartedAt: now, Stages: []control.Stage{}},
		stage:    now,
		watchers: make(map[chan struct{}]struct{}),
	}
}

func (b *board) get() control.State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state.Clone()
}

// change changes the state without leaving the phase.
func (b *board) change(f func(*control.State)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.state)
	b.tell()
}

// step moves to the phase that e leads to, or returns errdefs.ErrState when the phase knows no such event.
func (b *board) step(e event, f func(*control.State)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	next, ok := phases[b.state.Phase][e]
	if !ok {
		return errdefs.New(errdefs.ErrState, "the vm is %s", b.state.Phase)
	}
	if b.state.Phase == control.Starting {
		b.endStage("")
	}
	b.state.Phase = next
	f(&b.state)
	b.tell()
	return nil
}

// enter ends the current stage of the boot and begins another.
func (b *board) enter(stage string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state.Phase == control.Starting {
		b.endStage(stage)
		b.tell()
	}
}

func (b *board) endStage(next string) {
	now := time.Now()
	b.state.Stages = append(b.state.Stages, control.Stage{Name: b.state.Stage, MS: now.Sub(b.stage).Milliseconds()})
	b.state.Stage, b.stage = next, now
}

// warn adds a sentence that the user should read. The same is said once, and a guest cannot make the list long.
func (b *board) warn(text string) {
	const enough = 32
	b.change(func(s *control.State) {
		if len(s.Warnings) < enough && !slices.Contains(s.Warnings, text) {
			s.Warnings = append(s.Warnings, text)
		}
	})
}

// end shows the end, which is always possible and possible once. The stage in which a boot failed stays visible.
func (b *board) end(exit control.Exit) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state.Phase, b.state.Agent, b.state.Exit = control.Ended, false, &exit
	b.tell()
}

func (b *board) tell() {
	for w := range b.watchers {
		select {
		case w <- struct{}{}:
		default: // it has not looked since the last change and will see this one too
		}
	}
}

// watch calls each with the state now and after changes, until the end has been shown, ctx ends or each fails.
// Changes in quick succession may be shown as one.
func (b *board) watch(ctx context.Context, each func(control.State) error) error {
	changed := make(chan struct{}, 1)
	b.mu.Lock()
	b.watchers[changed] = struct{}{}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, changed)
	}()
	for {
		state := b.get()
		if err := each(state); err != nil || state.Phase == control.Ended {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
