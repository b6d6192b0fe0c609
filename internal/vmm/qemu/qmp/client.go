// Package qmp speaks QEMU's machine protocol: one JSON message a line, commands answered in order, events in between.
package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// maxLine bounds one message from QEMU. The longest that we ask for has some hundred bytes.
const maxLine = 1 << 20

// ErrClosed is returned for a command whose connection ends before its answer, and for every later one.
var ErrClosed = errors.New("qmp connection closed")

// Client is one end of a QMP connection. Its methods may be called from several goroutines.
type Client struct {
	conn  net.Conn
	event func(Event)
	done  chan struct{} // closed when the reader has ended

	mu      sync.Mutex
	nextID  uint64
	waiting map[uint64]chan message
	err     error // why the reader ended
}

// Connect reads the greeting and leaves the negotiation mode. event is called for each event, in their order, from one
// goroutine that runs until the connection ends; it must not block. On failure, and when ctx ends first, conn is closed.
func Connect(ctx context.Context, conn net.Conn, event func(Event)) (*Client, Greeting, error) {
	c := &Client{conn: conn, event: event, done: make(chan struct{}), waiting: map[uint64]chan message{}}
	greeting := make(chan Greeting, 1)
	go c.read(greeting)
	g, err := c.negotiate(ctx, greeting)
	if err != nil {
		_ = conn.Close()
		<-c.done
		return nil, Greeting{}, fmt.Errorf("negotiate qmp: %w", err)
	}
	return c, g, nil
}

func (c *Client) negotiate(ctx context.Context, greeting <-chan Greeting) (Greeting, error) {
	select {
	case g := <-greeting:
		return g, c.Execute(ctx, "qmp_capabilities", nil, nil)
	case <-c.done:
		return Greeting{}, c.ended()
	case <-ctx.Done():
		return Greeting{}, ctx.Err()
	}
}

// Done is closed when the connection has ended and every event was delivered.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close ends the connection.
func (c *Client) Close() error {
	err := c.conn.Close()
	<-c.done
	return err
}

// Execute runs a command and unmarshals its answer into result, unless result is nil. A refusal is an [*Error].
// When ctx ends first the command may still be carried out.
func (c *Client) Execute(ctx context.Context, command string, arguments, result any) error {
	id, reply, err := c.register()
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	defer c.forget(id)
	if err := c.send(ctx, id, command, arguments); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	select {
	case m := <-reply:
		return answer(command, m, result)
	case <-c.done:
		select { // the answer may have been the last line
		case m := <-reply:
			return answer(command, m, result)
		default:
			return fmt.Errorf("%s: %w", command, c.ended())
		}
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", command, ctx.Err())
	}
}

func answer(command string, m message, result any) error {
	if m.Error != nil {
		return fmt.Errorf("%s: %w", command, m.Error)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(*m.Return, result); err != nil {
		return fmt.Errorf("%s: parse answer: %w", command, err)
	}
	return nil
}

func (c *Client) register() (uint64, <-chan message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, nil, c.err
	}
	c.nextID++
	reply := make(chan message, 1)
	c.waiting[c.nextID] = reply
	return c.nextID, reply, nil
}

func (c *Client) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

func (c *Client) ended() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// send writes one command. A QEMU that does not read for as long as ctx lasts breaks the connection: half a command
// may be on the wire.
func (c *Client) send(ctx context.Context, id uint64, command string, arguments any) error {
	line, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        uint64 `json:"id"`
	}{command, arguments, id})
	if err != nil {
		return err
	}
	expired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(expired)
		_ = c.conn.SetWriteDeadline(time.Unix(1, 0))
	})
	_, err = c.conn.Write(append(line, '\n'))
	if !stop() {
		<-expired
		if err == nil {
			return c.conn.SetWriteDeadline(time.Time{})
		}
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = ctx.Err()
	default:
		err = fmt.Errorf("%w: %w", ErrClosed, err)
	}
	_ = c.conn.Close()
	return err
}

// read delivers messages until the connection ends.
func (c *Client) read(greeting chan<- Greeting) {
	defer close(c.done)
	lines := bufio.NewScanner(c.conn)
	lines.Buffer(make([]byte, 0, 4<<10), maxLine)
	err := c.deliver(lines, greeting)
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		err = ErrClosed
	default:
		err = fmt.Errorf("%w: %w", ErrClosed, err)
		_ = c.conn.Close() // nobody reads any more; let QEMU see it
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (c *Client) deliver(lines *bufio.Scanner, greeting chan<- Greeting) error {
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		m, err := parse(lines.Bytes())
		if err != nil {
			return err
		}
		switch {
		case m.Event != "":
			c.event(m.event())
		case m.Greeting != nil:
			select {
			case greeting <- *m.Greeting:
			default: // a second greeting means nothing
			}
		default:
			c.reply(m)
		}
	}
	return lines.Err()
}

// reply hands m to the command that waits for it. An answer without an id is to a line that QEMU could not read.
func (c *Client) reply(m message) {
	if m.ID == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch, ok := c.waiting[*m.ID]; ok {
		delete(c.waiting, *m.ID)
		ch <- m
	}
}
