package wire

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"time"

	"github.com/hashicorp/yamux"
)

// Session is many streams over one line. The host opens streams, the guest accepts them.
type Session struct{ mux *yamux.Session }

// NewHostSession starts the host's end of a session on c, which must come from [HostHandshake]. Closing the session closes c.
func NewHostSession(c io.ReadWriteCloser) (*Session, error) {
	// The guest is not trusted: this bounds the streams that it can open here, where nobody accepts them.
	m, err := yamux.Client(c, muxConfig(64))
	if err != nil {
		return nil, err
	}
	return &Session{mux: m}, nil
}

// NewGuestSession starts the guest's end of a session on c, which must come from [GuestHandshake].
func NewGuestSession(c io.ReadWriteCloser) (*Session, error) {
	m, err := yamux.Server(c, muxConfig(1024))
	if err != nil {
		return nil, err
	}
	return &Session{mux: m}, nil
}

// muxConfig has no time limits: a machine may be paused for days, and its end is seen on the line itself.
// backlog is how many streams may be open that the other end has not accepted yet.
func muxConfig(backlog int) *yamux.Config {
	c := yamux.DefaultConfig()
	c.EnableKeepAlive = false
	c.ConnectionWriteTimeout = math.MaxInt64
	c.StreamOpenTimeout = 0
	c.AcceptBacklog = backlog
	c.LogOutput = io.Discard // what goes wrong also ends the session, with the error
	return c
}

// Open opens a stream. The host calls it. It waits while too many streams are not accepted yet, ctx permitting.
func (s *Session) Open(ctx context.Context) (net.Conn, error) {
	type result struct {
		c   *yamux.Stream
		err error
	}
	opened := make(chan result, 1)
	go func() {
		c, err := s.mux.OpenStream()
		opened <- result{c, err}
	}()
	select {
	case r := <-opened:
		if r.err != nil {
			return nil, r.err
		}
		return &stream{r.c}, nil
	case <-ctx.Done():
		go func() {
			if r := <-opened; r.err == nil {
				_ = r.c.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// Accept waits for the next stream. With Addr and Close it makes a Session a [net.Listener]. The guest calls it.
func (s *Session) Accept() (net.Conn, error) {
	c, err := s.mux.AcceptStream()
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, yamux.ErrSessionShutdown) {
			err = net.ErrClosed // an end like any other
		}
		return nil, err
	}
	return &stream{c}, nil
}

// Addr is a name for logs.
func (s *Session) Addr() net.Addr { return s.mux.Addr() }

// Done is closed when the session has ended, by Close or because the line or the peer failed.
func (s *Session) Done() <-chan struct{} { return s.mux.CloseChan() }

// Close ends the session, its streams and its line.
func (s *Session) Close() error { return s.mux.Close() }

// stream makes Close end a concurrent Read, as that of any other net.Conn does: yamux lets it wait for the peer.
type stream struct{ *yamux.Stream }

func (s *stream) Close() error {
	err := s.Stream.Close()
	_ = s.SetReadDeadline(time.Unix(1, 0))
	return err
}
