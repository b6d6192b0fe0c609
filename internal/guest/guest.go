// Package guest is the host's side of the guest agent: a client on the machine's agent line.
package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/guest/wire"
)

// Client talks to one run of a guest agent. Its methods may be called from several goroutines. When the agent or the
// line fails, Done is closed and every method fails; [Connect] on the same line then waits for the next agent.
type Client struct {
	session   *wire.Session
	transport *http.Transport
}

// Connect waits until the agent at the other end of conn answers and opens a session with it. The client owns conn from
// then on; when Connect fails, because ctx ended or conn did, conn is still the caller's and, if open, can be tried again.
func Connect(ctx context.Context, conn net.Conn) (*Client, error) {
	line, err := wire.HostHandshake(ctx, conn)
	if err != nil {
		return nil, err
	}
	session, err := wire.NewHostSession(line)
	if err != nil {
		return nil, fmt.Errorf("open session with the guest agent: %w", err)
	}
	return &Client{session: session, transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return session.Open(ctx) },
		// A stream costs nothing to open, and idle ones would cost memory on both sides.
		DisableKeepAlives:  true,
		DisableCompression: true,
	}}, nil
}

// Transport carries requests for any http URL to the agent, each on a stream of its own. Upgraded connections work.
func (c *Client) Transport() http.RoundTripper { return c.transport }

// Done is closed when the session has ended.
func (c *Client) Done() <-chan struct{} { return c.session.Done() }

// Close ends the session and closes its line.
func (c *Client) Close() error { return c.session.Close() }

// Info asks the agent about its machine.
func (c *Client) Info(ctx context.Context) (proto.Info, error) {
	var info proto.Info
	err := c.call(ctx, http.MethodGet, proto.RouteInfo, nil, &info)
	return info, err
}

// SetIdentity makes the machine what id says. It is idempotent.
func (c *Client) SetIdentity(ctx context.Context, id proto.Identity) (proto.Info, error) {
	var info proto.Info
	err := c.call(ctx, http.MethodPut, proto.RouteIdentity, id, &info)
	return info, err
}

// Shutdown asks the machine to end. It returns when the agent has written out the file systems and begun.
func (c *Client) Shutdown(ctx context.Context, r proto.ShutdownRequest) error {
	return c.call(ctx, http.MethodPost, proto.RouteShutdown, r, nil)
}

// Sync returns when all of the machine's file systems are written out.
func (c *Client) Sync(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, proto.RouteSync, nil, nil)
}

// Exec runs a command until it exits or ctx ends, which hangs it up; see [wire.Client].
func (c *Client) Exec(ctx context.Context, req proto.ExecRequest, s wire.Streams) (proto.ExitStatus, error) {
	hr, err := newRequest(ctx, http.MethodPost, proto.RouteExec, req)
	if err != nil {
		return proto.ExitStatus{}, err
	}
	hr.Header.Set("Connection", "Upgrade")
	hr.Header.Set("Upgrade", proto.UpgradeStream)
	resp, err := c.transport.RoundTrip(hr)
	if err != nil {
		return proto.ExitStatus{}, unavailable(proto.RouteExec, err)
	}
	stream, ok := resp.Body.(io.ReadWriteCloser)
	if resp.StatusCode != http.StatusSwitchingProtocols || !ok {
		defer resp.Body.Close()
		return proto.ExitStatus{}, failure(resp)
	}
	return wire.Client(ctx, stream, s)
}

// call sends in as JSON, if there is any, and reads the answer into out, if it is wanted.
func (c *Client) call(ctx context.Context, method, route string, in, out any) error {
	req, err := newRequest(ctx, method, route, in)
	if err != nil {
		return err
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return unavailable(route, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return failure(resp)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return unavailable(route, err)
	}
	return nil
}

// maxAnswer bounds what is read of an answer, in bytes: the guest is not trusted.
const maxAnswer = 1 << 20

func newRequest(ctx context.Context, method, route string, in any) (*http.Request, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("guest agent %s: %w", route, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://agent"+route, body)
	if err != nil {
		return nil, fmt.Errorf("guest agent %s: %w", route, err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// failure is what the agent says of a request that it did not accept.
func failure(resp *http.Response) error {
	var p proto.Problem
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&p); err != nil || p.Detail == "" {
		return fmt.Errorf("guest agent: answered %s", resp.Status)
	}
	err := fmt.Errorf("guest agent: %w", &p)
	if p.Code == "invalid" {
		return errdefs.As(errdefs.ErrInvalid, err)
	}
	return err
}

// unavailable wraps the failure of the line. That the caller gave up stays visible.
func unavailable(route string, err error) error {
	err = fmt.Errorf("guest agent %s: %w", route, err)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return errdefs.As(errdefs.ErrUnavailable, err)
}
