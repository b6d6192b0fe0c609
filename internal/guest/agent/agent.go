// Package agent is the guest's side of banger: an HTTP server on the streams of one session with the host, which tells
// about the machine, gives it its identity and runs processes in it.
package agent

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/banger-dev/banger/internal/guest/account"
	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/guest/wire"
)

// System changes the machine that an agent runs in.
type System interface {
	// Apply makes the machine what id says. It is idempotent.
	Apply(ctx context.Context, id proto.Identity) error
	// Shutdown begins the machine's end and returns.
	Shutdown(ctx context.Context, r proto.ShutdownRequest) error
}

// Options configure an agent. The zero value serves the system it runs on without ever changing it: an identity is only
// remembered, a shutdown ends the session.
type Options struct {
	Version  string
	Init     string   // proto.Info.Init; default "agent"
	Warnings []string // proto.Info.Warnings
	System   System
	Console  string // file for the output of detached processes; default /dev/null
	Cgroup   string // directory of the control group (version 2) that processes are started in; empty: the agent's own
	State    string // file that keeps the identity for an agent that is started again; empty: none
	Accounts account.Database
	Log      *slog.Logger
}

// Agent serves one machine, over any number of sessions, one after the other.
type Agent struct {
	o   Options
	log *slog.Logger
	oom *oomGuard

	mu       sync.Mutex
	identity *proto.Identity // nil until there is one

	execs sync.WaitGroup
}

// New returns an agent, with the identity that an earlier one left in o.State.
func New(o Options) *Agent {
	if o.Init == "" {
		o.Init = "agent"
	}
	if o.Console == "" {
		o.Console = os.DevNull
	}
	if o.Accounts == (account.Database{}) {
		o.Accounts = account.System
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &Agent{o: o, log: o.Log, oom: newOOMGuard(o.Log)}
	a.restore()
	return a
}

// Serve serves one session on conn, which it closes, until ctx ends, the session ends, or, without a System, a shutdown
// was asked for. It returns after the processes that clients of the session run have ended; those are hung up.
func Serve(ctx context.Context, conn wire.Conn, o Options) error {
	a := New(o)
	err := a.Serve(ctx, conn)
	a.Wait()
	return err
}

// Serve is like the function of that name, but does not wait for processes: see [Agent.Wait].
// The end of a session, whoever ended it, is not an error.
func (a *Agent) Serve(ctx context.Context, conn wire.Conn) error {
	defer conn.Close()
	line, err := wire.GuestHandshake(ctx, conn)
	if err != nil {
		return err
	}
	session, err := wire.NewGuestSession(line)
	if err != nil {
		return err
	}
	defer session.Close()
	defer context.AfterFunc(ctx, func() { session.Close() })()

	server := &http.Server{
		Handler:           a.handler(func() { session.Close() }),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	defer server.Close()
	if err := server.Serve(session); !errors.Is(err, net.ErrClosed) && !errors.Is(err, http.ErrServerClosed) {
		a.log.Warn("session ended", "error", err)
	}
	return ctx.Err()
}

// Wait returns when no process that a client is attached to is left. Once their sessions are over that is within seconds.
func (a *Agent) Wait() { a.execs.Wait() }

// current returns the identity, or one without any defaults.
func (a *Agent) current() (id proto.Identity, configured bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.identity == nil {
		return proto.Identity{}, false
	}
	return *a.identity, true
}

func (a *Agent) setIdentity(id proto.Identity) {
	id.Entropy = nil // used up, and nobody else's to know
	a.mu.Lock()
	a.identity = &id
	a.mu.Unlock()
	if a.o.State == "" {
		return
	}
	b, err := json.Marshal(id)
	if err == nil {
		err = os.WriteFile(a.o.State, b, 0o600)
	}
	if err != nil {
		a.log.Warn("keep identity", "error", err)
	}
}

func (a *Agent) restore() {
	if a.o.State == "" {
		return
	}
	b, err := os.ReadFile(a.o.State)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var id proto.Identity
	if err == nil {
		err = json.Unmarshal(b, &id)
	}
	if err != nil {
		a.log.Warn("restore identity", "error", err)
		return
	}
	a.identity = &id
}
