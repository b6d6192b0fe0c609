package shim

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/shim/console"
	"github.com/banger-dev/banger/internal/shim/control"
)

const (
	identityTimeout = 60 * time.Second // growing a large file system is part of it
	sessionWait     = 10 * time.Second // a request waits that long for an agent that is restarting
	entropyBytes    = 64
	maxWarnings     = 32 // of one boot that are passed on
)

// sessions keeps a session with the agent for as long as the port is open. The outcome of the first goes to ready.
func (s *shim) sessions(ctx context.Context, port net.Conn, ready chan<- error) {
	for failures := 0; ; {
		agent, err := s.connect(ctx, port)
		if err != nil {
			if ctx.Err() != nil || portClosed(err) {
				return
			}
			s.log.Warn("no session with the agent", "error", err)
			failures++
			if !pause(ctx, failures) {
				return
			}
			continue
		}
		err = s.session(ctx, agent)
		select {
		case ready <- err:
		default: // the boot is over; this is a later session
			if err != nil {
				s.log.Warn("agent has come back but takes no identity", "error", err)
				s.board.warn("the guest's agent restarted and could not be set up: " + console.Clean([]byte(err.Error())))
			}
		}
		if err == nil {
			s.at("running")
			s.memory.Add(0) // booting has used some
			s.log.Info("guest is ready", "stages", s.board.get().Stages)
			waitEither(ctx, agent)
			s.log.Info("agent session ended")
		}
		s.link.set(nil)
		s.board.change(func(st *control.State) { st.Agent = false })
		if err := agent.Close(); err != nil {
			s.log.Debug("agent session did not close", "error", err)
		}
		if err == nil {
			failures = 0
			continue
		}
		failures++
		if !pause(ctx, failures) {
			return
		}
	}
}

func (s *shim) connect(ctx context.Context, port net.Conn) (Agent, error) {
	session, err := newPortSession(port)
	if err != nil {
		return nil, err
	}
	return s.parts.Connect(ctx, session)
}

func waitEither(ctx context.Context, agent Agent) {
	select {
	case <-agent.Done():
	case <-ctx.Done():
	}
}

// session makes the guest this particular VM. An agent that has restarted is told again: it changes nothing then.
func (s *shim) session(ctx context.Context, agent Agent) error {
	s.firstAnswer()
	s.at("answered")
	ctx, cancel := context.WithTimeoutCause(ctx, identityTimeout,
		errdefs.New(errdefs.ErrTimeout, "the agent did not set the guest up within %s", identityTimeout))
	defer cancel()
	info, err := agent.SetIdentity(ctx, s.identity())
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return err
	}
	info = presentable(info)
	s.link.set(agent)
	for _, w := range info.Warnings {
		s.board.warn(w)
	}
	return s.board.step(identified, func(st *control.State) { st.Agent, st.Guest = true, &info })
}

// presentable returns what a guest says of itself as short printable text: it is recorded and shown on terminals.
func presentable(info proto.Info) proto.Info {
	for _, text := range []*string{&info.Version, &info.BootID, &info.Init, &info.Kernel, &info.Hostname} {
		*text = console.Clean([]byte(*text))
	}
	warnings := info.Warnings[:min(len(info.Warnings), maxWarnings)]
	info.Warnings = make([]string, 0, len(warnings))
	for _, w := range warnings {
		info.Warnings = append(info.Warnings, console.Clean([]byte(w)))
	}
	return info
}

// firstAnswer notes how long the boot took, once.
func (s *shim) firstAnswer() {
	if s.board.get().Stage != control.StageKernel {
		return
	}
	s.board.enter(control.StageIdentity)
	s.board.change(func(st *control.State) {
		if n := len(st.Stages); n > 0 {
			st.BootMS = st.Stages[n-1].MS
		}
	})
}

func (s *shim) identity() proto.Identity {
	id := s.spec.Identity
	id.Time = time.Now()
	id.Entropy = make([]byte, entropyBytes)
	_, _ = rand.Read(id.Entropy) // crypto/rand.Read never fails
	if s.networked() {
		network := s.parts.Guest()
		id.Network = &network
	}
	return id
}

// portClosed tells an end of the port from an end of the session.
func portClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, fs.ErrClosed)
}

// pause spaces attempts to reach an agent that keeps failing, up to two seconds apart.
func pause(ctx context.Context, failures int) bool {
	timer := time.NewTimer(min(50*time.Millisecond<<min(failures, 6), 2*time.Second))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// link holds the session with the agent, which may come and go. The zero value holds none.
type link struct {
	mu    sync.Mutex
	agent Agent
	came  chan struct{} // closed when a session comes; made by those who wait for it
}

func (l *link) set(a Agent) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.agent = a
	if a != nil && l.came != nil {
		close(l.came)
		l.came = nil
	}
}

// now returns the session, or nil.
func (l *link) now() Agent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.agent
}

// wait returns the session, waiting a while for an agent that is restarting.
func (l *link) wait(ctx context.Context) (Agent, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, sessionWait, errdefs.WithHint(
		errdefs.New(errdefs.ErrUnavailable, "the guest's agent does not answer"), "look at the console with banger logs, or restart the vm"))
	defer cancel()
	for {
		l.mu.Lock()
		agent := l.agent
		if agent == nil && l.came == nil {
			l.came = make(chan struct{})
		}
		came := l.came
		l.mu.Unlock()
		if agent != nil {
			return agent, nil
		}
		select {
		case <-came:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// agentTransport sends requests over whichever session there is.
type agentTransport struct{ link *link }

func (t agentTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	agent, err := t.link.wait(req.Context())
	if err != nil {
		return nil, err
	}
	return agent.Transport().RoundTrip(req)
}
