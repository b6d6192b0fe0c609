package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// impatience is the time within which insistence ends a session whatever the guest's command does with the signals.
const (
	impatience = 2 * time.Second
	insistence = 3 // signals
)

// interruption is why an operation was given up.
type interruption struct{ signal syscall.Signal }

func (e *interruption) Error() string { return "interrupted by " + unix.SignalName(e.signal) }

// signals decides what a signal means: during a session it goes to the guest's command; otherwise the first cancels
// what is being done, politely, and the second ends the process.
type signals struct {
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	session chan<- string // nil: none
	recent  []time.Time
	undo    func() // restores the terminal; nil: nothing to restore
	first   bool   // a signal has cancelled already
	yielded bool   // somebody else handles signals
}

// catchSignals returns a context that the first signal ends.
func (a *app) catchSignals(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	a.signals = &signals{cancel: cancel}
	caught := make(chan os.Signal, 32)
	// SIGPIPE is caught so that a closed standard output is an error of the write and not our sudden end.
	wanted := []os.Signal{unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE}
	for _, s := range []os.Signal{unix.SIGINT, unix.SIGHUP, unix.SIGQUIT} {
		if !signal.Ignored(s) { // as under nohup, or in the background of a script
			wanted = append(wanted, s)
		}
	}
	signal.Notify(caught, wanted...)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-caught:
				a.signals.handle(s.(syscall.Signal))
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(caught)
		close(done)
		cancel(nil)
	}
}

func (s *signals) handle(sig syscall.Signal) {
	if sig == unix.SIGPIPE {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.yielded {
		return
	}
	if s.session != nil {
		s.forward(sig)
		return
	}
	if sig == unix.SIGUSR1 || sig == unix.SIGUSR2 {
		return // nobody to give them to
	}
	if s.first {
		s.die(sig)
	}
	s.first = true
	s.cancel(&interruption{sig})
}

// forward passes a signal to the session. A user who insists is let go although the guest's command stays.
func (s *signals) forward(sig syscall.Signal) {
	select {
	case s.session <- unix.SignalName(sig)[len("SIG"):]:
	default: // as many wait already as any process would notice
	}
	if sig == unix.SIGUSR1 || sig == unix.SIGUSR2 {
		return
	}
	now := time.Now()
	s.recent = append(s.recent, now)
	if len(s.recent) > insistence {
		s.recent = s.recent[1:]
	}
	if len(s.recent) == insistence && now.Sub(s.recent[0]) < impatience {
		s.cancel(&interruption{sig})
	}
}

// die ends the process at once. The daemon notices and undoes what was going on.
func (s *signals) die(sig syscall.Signal) {
	if s.undo != nil {
		s.undo()
	}
	fmt.Fprintln(os.Stderr, "banger: gave up waiting; the daemon goes on cleaning up")
	os.Exit(128 + int(sig))
}

// attach sends signals to a session until the returned function is called. undo is called should the process have to
// end in between.
func (s *signals) attach(session chan<- string, undo func()) (detach func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session, s.undo, s.recent = session, undo, nil
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.session, s.undo = nil, nil
	}
}

// yield leaves all signals to whoever else listens to them, for commands that are services.
func (s *signals) yield() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.yielded = true
}
