package api

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
	"strings"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/unixsock"
)

// host is the authority of every request: the socket knows one server only.
const host = "banger"

// maxAnswer bounds an answer that is read into memory, in bytes.
const maxAnswer = 64 << 20

// Dialer connects to the daemon.
type Dialer func(ctx context.Context) (net.Conn, error)

// Client calls a daemon. Its methods may be called from several goroutines. What the daemon refuses comes back as
// *[Error]; a daemon that cannot be reached, as the dialer's error.
type Client struct {
	dial Dialer
	http *http.Client
}

// New returns a client of the daemon that listens on a Unix socket.
func New(socket string) *Client {
	return NewWithDialer(func(ctx context.Context) (net.Conn, error) { return unixsock.Dial(ctx, socket) })
}

// NewWithDialer returns a client that connects with dial, which is called for each new connection.
func NewWithDialer(dial Dialer) *Client {
	transport := &http.Transport{
		DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableCompression:  true,
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     time.Minute,
	}
	return &Client{dial: dial, http: &http.Client{Transport: transport}}
}

// Close closes the connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// get asks for a resource.
func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	return call[T](ctx, c, http.MethodGet, path, nil)
}

// call sends one request and reads its JSON answer.
func call[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var out T
	res, err := c.send(ctx, method, path, body)
	if err != nil {
		return out, err
	}
	defer closeBody(res)
	if res.StatusCode == http.StatusNoContent {
		return out, nil
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&out); err != nil {
		return out, fmt.Errorf("read the daemon's answer to %s %s: %w", method, path, err)
	}
	return out, nil
}

// send sends one request and returns the answer if it is a success. The caller closes its body.
func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	req, err := newRequest(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, transportError(ctx, err)
	}
	if res.StatusCode >= http.StatusBadRequest {
		defer closeBody(res)
		return nil, problem(res)
	}
	return res, nil
}

func newRequest(ctx context.Context, method, path string, body any) (*http.Request, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	content, stream := body.(io.Reader)
	kind := "application/octet-stream"
	if body != nil && !stream {
		kind = "application/json"
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		content = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+host+path, content)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", kind)
	}
	return req, nil
}

// checkPath refuses references that would not be a segment of the path: it would lead to another route.
func checkPath(path string) error {
	path, _, _ = strings.Cut(path, "?")
	for _, segment := range strings.Split(path, "/")[1:] {
		switch segment {
		case "":
			return errdefs.New(errdefs.ErrInvalid, "id or name is required")
		case ".", "..":
			return errdefs.New(errdefs.ErrNotFound, "%q not found", segment)
		}
	}
	return nil
}

// transportError takes away what net/http puts around an error: on a socket, method and URL say nothing.
func transportError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return fmt.Errorf("call the daemon: %w", err)
}

// problem reads an answer that is not a success.
func problem(res *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the daemon's refusal: %w", err)
	}
	e := &Error{}
	if json.Unmarshal(data, e) != nil || e.Code == "" {
		e = &Error{Code: CodeInternal, Detail: fmt.Sprintf("the daemon answered %s: %.200q", res.Status, data)}
	}
	e.Status = res.StatusCode
	return e
}

// closeBody closes an answer. What is left of a short one is read first, so that its connection can be used again.
func closeBody(res *http.Response) {
	_, _ = io.CopyN(io.Discard, res.Body, 4096)
	_ = res.Body.Close()
}
