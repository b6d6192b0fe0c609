package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// cancelGrace is how long a cancelled operation may take to undo what it did before the client stops waiting for it.
const cancelGrace = 30 * time.Second

// Progress is told each event of an operation but the last. It is called from one goroutine at a time. It may be nil.
type Progress func(Event)

// line is an [Event] whose result is not decoded yet.
type line struct {
	Event
	Result json.RawMessage `json:"result"`
}

// operate sends a request that is answered by a stream of events and returns the last one's result.
//
// When ctx ends, the operation is asked to stop and operate still waits for its end, up to cancelGrace, so that
// nothing of it is left when the caller goes on. It then returns the cause of ctx's end.
func operate[T any](ctx context.Context, c *Client, method, path string, body any, progress Progress) (T, error) {
	var zero T
	if ctx.Err() != nil {
		return zero, context.Cause(ctx)
	}
	lifetime, drop := context.WithCancel(context.WithoutCancel(ctx))
	defer drop()
	canceller := &canceller{client: c, drop: drop}
	defer context.AfterFunc(ctx, func() { canceller.cancel(lifetime) })()

	res, err := c.send(lifetime, method, path, body)
	if err != nil {
		return zero, orCause(ctx, err)
	}
	defer func() { _ = res.Body.Close() }()
	out, err := follow[T](res.Body, canceller.started(lifetime, progress))
	if err != nil {
		return zero, orCause(ctx, err)
	}
	return out, nil
}

// orCause prefers why the caller gave up to how the operation then ended.
func orCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// follow reads events until the one that ends the operation.
func follow[T any](r io.Reader, progress Progress) (T, error) {
	var out T
	events := json.NewDecoder(r)
	for {
		var l line
		if err := events.Decode(&l); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return out, fmt.Errorf("follow the operation: the daemon went away: %w", err)
		}
		switch {
		case l.Error != nil:
			return out, l.Error
		case l.Result != nil:
			if err := json.Unmarshal(l.Result, &out); err != nil {
				return out, fmt.Errorf("read the operation's result: %w", err)
			}
			return out, nil
		default:
			progress(l.Event)
		}
	}
}

// Operations lists the operations that run, the oldest first.
func (c *Client) Operations(ctx context.Context) ([]Operation, error) {
	return get[[]Operation](ctx, c, RouteOperations)
}

// CancelOperation asks a running operation to stop. It returns at once; the operation's own stream tells how it ended.
func (c *Client) CancelOperation(ctx context.Context, id string) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, at(RouteOperation, id), nil)
	return err
}
