package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/guest/wire"
)

// Streams connect a command in a guest to its caller.
type Streams = wire.Streams

// TerminalSize is a terminal's size in characters.
type TerminalSize = wire.Size

// ErrNoExit means that the connection ended before the command did: the guest or the daemon died.
var ErrNoExit = wire.ErrNoExit

// maxRequest is the largest request that the daemon takes, in bytes.
const maxRequest = 1 << 20

// Exec runs a command in a running VM, connected to streams, until it exits, ctx ends or streams cannot be written to.
// The last two hang the command up. A command that could not be started is a status with an Error and no error.
func (c *Client) Exec(ctx context.Context, ref string, req ExecRequest, streams Streams) (ExitStatus, error) {
	conn, err := c.upgrade(ctx, at(RouteVMExec, ref), req)
	if err != nil {
		return ExitStatus{}, err
	}
	return wire.Client(ctx, conn, streams)
}

// upgrade sends a request and returns the connection that its 101 answer leaves.
func (c *Client) upgrade(ctx context.Context, path string, body any) (io.ReadWriteCloser, error) {
	req, err := newRequest(ctx, http.MethodPost, path, body)
	if err != nil {
		return nil, err
	}
	if req.ContentLength > maxRequest { // it would be cut off while it is sent, and the refusal lost
		return nil, errdefs.WithHint(
			errdefs.New(errdefs.ErrInvalid, "the command and its environment have %d bytes, more than %d", req.ContentLength, maxRequest),
			"send what is large through standard input")
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", proto.UpgradeStream)
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("call the daemon: %w", err)
	}
	release := context.AfterFunc(ctx, func() { _ = conn.Close() })
	stream, err := handshake(conn, req)
	if !release() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, orCause(ctx, err)
	}
	return stream, nil
}

func handshake(conn net.Conn, req *http.Request) (io.ReadWriteCloser, error) {
	if err := req.Write(conn); err != nil {
		return nil, fmt.Errorf("call the daemon: %w", err)
	}
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, req)
	if err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("it hung up")
		}
		return nil, fmt.Errorf("call the daemon: %w", err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		defer res.Body.Close()
		return nil, problem(res)
	}
	return &upgraded{Conn: conn, r: r}, nil
}

// upgraded is a connection of which some bytes may have been read with the answer.
type upgraded struct {
	net.Conn
	r *bufio.Reader
}

func (u *upgraded) Read(p []byte) (int, error) { return u.r.Read(p) }
