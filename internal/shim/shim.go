// Package shim supervises one VM: it is the parent of the VMM's process, carries the guest's network, console and
// agent session, serves them on a Unix socket, and records how the VM ended. It knows nothing of the daemon, which may
// come and go.
package shim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/shim/console"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/trim"
	"github.com/banger-dev/banger/internal/vmm"
)

// Parts are what a shim works with.
type Parts struct {
	// Driver returns the driver of the VMM that the spec names.
	Driver func(spec control.Spec) (vmm.Driver, error)
	// Connect begins a session with the agent behind the guest's port. It is called again on the same connection when a
	// session has ended, because the agent has restarted.
	Connect func(ctx context.Context, port net.Conn) (Agent, error)
	// Network begins to serve the guest's link by the spec's policy.
	Network func(link net.Conn, spec control.Spec, log *slog.Logger) (Network, error)
	// Guest returns what the guest is told about its network.
	Guest func() proto.Network
	// At, which may be nil, is called when the shim has come to a point; crash tests end the process there.
	At func(point string)
}

// Agent is a session with a guest's agent.
type Agent interface {
	Transport() http.RoundTripper
	SetIdentity(ctx context.Context, id proto.Identity) (proto.Info, error)
	Shutdown(ctx context.Context, req proto.ShutdownRequest) error
	Done() <-chan struct{} // closed when the session has ended
	Close() error
}

// Network serves a guest's link until the link or the network is closed.
type Network interface {
	Done() <-chan struct{}
	Close() error
}

// shim supervises one run.
type shim struct {
	dir     control.Dir
	spec    control.Spec
	parts   Parts
	log     *slog.Logger
	console *console.Console
	board   *board
	link    link
	wishes  wishes
	memory  trim.Trimmer
	ended   chan struct{} // closed when the end is recorded and published
}

// Run runs the VM of dir from start to end and serves it on l, which it closes. ready is called once l is served.
// The end of ctx asks for an orderly end. The error is that of the shim; how the VM ended is in its directory.
func Run(ctx context.Context, dir control.Dir, l net.Listener, parts Parts, log *slog.Logger, ready func()) error {
	defer l.Close()
	s, err := newShim(dir, parts, log)
	if err != nil {
		return err
	}
	boot, giveUp := context.WithCancelCause(context.WithoutCancel(ctx))
	defer giveUp(nil)
	s.wishes.giveUp = giveUp
	server := s.serve(l)
	ready()
	s.at("ready")
	exit := s.run(ctx, boot)
	err = control.Write(dir.Exit(), exit)
	if err != nil {
		log.Error("end is not recorded", "error", err)
	}
	s.at("recorded")
	log.Info("vm ended", "reason", exit.Reason, "detail", exit.Detail)
	s.board.end(exit)
	close(s.ended)
	s.memory.End()
	return errors.Join(err, s.console.End(), s.stopServing(ctx, server))
}

func newShim(dir control.Dir, parts Parts, log *slog.Logger) (*shim, error) {
	s := &shim{dir: dir, parts: parts, log: log, board: newBoard(), ended: make(chan struct{})}
	if err := control.Read(dir.Spec(), &s.spec); err != nil {
		return nil, fmt.Errorf("start shim: %w", err)
	}
	self, err := self()
	if err != nil {
		return nil, fmt.Errorf("start shim: %w", err)
	}
	if err := control.WriteVolatile(dir.Processes(), control.Processes{Shim: self}); err != nil {
		return nil, fmt.Errorf("start shim: %w", err)
	}
	if s.console, err = console.Open(dir.Console(), log); err != nil {
		return nil, fmt.Errorf("start shim: %w", err)
	}
	s.board.change(func(st *control.State) { st.ShimPID = os.Getpid() })
	return s, nil
}

func (s *shim) at(point string) {
	if s.parts.At != nil {
		s.parts.At(point)
	}
}

// serve answers on l.
func (s *shim) serve(l net.Listener) *http.Server {
	server := &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("socket is no longer served", "error", err)
		}
	}()
	return server
}

// stopServing lets those who wait for the end have their answers, but not for long. The socket is removed first.
func (s *shim) stopServing(ctx context.Context, server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		s.log.Warn("callers are cut off", "error", err)
		return server.Close()
	}
	return nil
}
