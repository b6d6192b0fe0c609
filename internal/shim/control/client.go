package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/unixsock"
)

// ErrGone says that no shim serves there.
var ErrGone = errdefs.New(errdefs.ErrNotFound, "no shim serves the VM")

// Client calls the shim of one VM. It keeps no connection between calls.
type Client struct{ http *http.Client }

// NewClient returns a client of the shim that serves, or served, in dir.
func NewClient(dir Dir) *Client {
	return &Client{&http.Client{Transport: &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return Dial(ctx, dir) },
		DisableKeepAlives: true,
	}}}
}

// Dial connects to the shim that serves in dir. Without one the error is [ErrGone].
func Dial(ctx context.Context, dir Dir) (net.Conn, error) {
	c, err := unixsock.Dial(ctx, dir.Socket())
	if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENOENT) {
		return nil, ErrGone
	}
	return c, err
}

// State asks for the state.
func (c *Client) State(ctx context.Context) (State, error) {
	var s State
	return s, c.call(ctx, http.MethodGet, RouteState, nil, &s)
}

// Events calls each with the current state and with every later one, until the run has ended, which is nil, or the
// stream breaks before that.
func (c *Client) Events(ctx context.Context, each func(State)) error {
	res, err := c.do(ctx, http.MethodGet, RouteEvents, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	for lines := json.NewDecoder(res.Body); ; {
		var s State
		if err := lines.Decode(&s); err != nil {
			return orCause(ctx, fmt.Errorf("read the shim's events: %w", err))
		}
		each(s)
		if s.Phase == Ended {
			return nil
		}
	}
}

// Stop asks the guest to end and returns when the run has ended. A guest that takes longer than timeout is killed.
func (c *Client) Stop(ctx context.Context, timeout time.Duration) (StopAnswer, error) {
	var a StopAnswer
	return a, c.call(ctx, http.MethodPost, RouteStop, StopRequest{TimeoutMS: timeout.Milliseconds()}, &a)
}

// Kill ends the VMM at once and returns when the run has ended.
func (c *Client) Kill(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, RouteKill, nil, nil)
}

// Pause stops the guest's CPUs.
func (c *Client) Pause(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, RoutePause, nil, nil)
}

// Resume lets the guest's CPUs run again.
func (c *Client) Resume(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, RouteResume, nil, nil)
}

// Console copies the last lines lines of the console to w, all when lines is negative, and with follow what comes.
func (c *Client) Console(ctx context.Context, w io.Writer, lines int, follow bool) error {
	query := url.Values{"tail": {strconv.Itoa(lines)}}
	if follow {
		query.Set("follow", "1")
	}
	res, err := c.do(ctx, http.MethodGet, RouteConsole+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(w, res.Body); err != nil {
		return orCause(ctx, fmt.Errorf("read console: %w", err))
	}
	return nil
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	res, err := c.do(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(out); err != nil {
		return orCause(ctx, fmt.Errorf("read the shim's answer to %s: %w", path, err))
	}
	return nil
}

// do returns an answer that is a success. The caller closes its body.
func (c *Client) do(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader = http.NoBody
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("call shim: %w", err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://shim"+path, body)
	if err != nil {
		return nil, fmt.Errorf("call shim: %w", err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		var layer *url.Error
		if errors.As(err, &layer) { // method and URL say nothing on a socket
			err = layer.Err
		}
		return nil, orCause(ctx, fmt.Errorf("call shim: %w", err))
	}
	if res.StatusCode >= http.StatusBadRequest {
		defer res.Body.Close()
		return nil, readProblem(res)
	}
	return res, nil
}

func orCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
