package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/banger-dev/banger/internal/guest/proto"
)

// Streams connects an exec stream to the caller. Each field may be nil.
type Streams struct {
	Stdin   io.Reader // nil: closed at once
	Stdout  io.Writer // nil: discarded
	Stderr  io.Writer
	Resize  <-chan Size
	Signals <-chan string // names without SIG
}

// ErrNoExit means that a stream ended before the process's exit status came: the guest or something on the way died.
var ErrNoExit = errors.New("the connection ended before the command did")

// Client drives one exec stream, conn being what follows the 101 answer, until the process exits, ctx ends or writing
// to Stdout or Stderr fails. The last two hang the process up. It closes conn. A Read of Stdin that blocks outlives it:
// nothing that it then reads is sent.
func Client(ctx context.Context, conn io.ReadWriteCloser, s Streams) (proto.ExitStatus, error) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	w, credit := NewWriter(conn), newCredit(StdinWindow)
	go sendInput(ctx, w, s.Stdin, credit)
	go sendEvents(ctx, w, s)
	status, err := receive(NewReader(bufio.NewReaderSize(conn, MaxPayload)), s, credit)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return status, err
}

// receive handles the agent's frames until the process's exit.
func receive(r *Reader, s Streams, credit *credit) (proto.ExitStatus, error) {
	for {
		t, p, err := r.Next()
		switch {
		case errors.Is(err, ErrTooLarge):
			return proto.ExitStatus{}, err
		case err != nil:
			return proto.ExitStatus{}, fmt.Errorf("%w: %w", ErrNoExit, err)
		}
		switch t {
		case Stdout:
			err = deliver(s.Stdout, p, "output")
		case Stderr:
			err = deliver(s.Stderr, p, "error")
		case Window:
			var n int
			if n, err = ParseWindow(p); err == nil {
				credit.add(n)
			}
		case Exit:
			return ParseExit(p)
		default:
			// An agent that is newer than this client may say more than it understands.
		}
		if err != nil {
			return proto.ExitStatus{}, err
		}
	}
}

func deliver(w io.Writer, p []byte, name string) error {
	if w == nil {
		return nil
	}
	if _, err := w.Write(p); err != nil {
		return fmt.Errorf("write standard %s: %w", name, err)
	}
	return nil
}

// sendInput copies r into the stream as fast as the agent grants. Its errors are those of the connection, which
// receive sees too, or of r, which end the input like EOF does.
func sendInput(ctx context.Context, w *Writer, r io.Reader, credit *credit) {
	var buf []byte
	for r != nil {
		n, err := credit.take(ctx, 32<<10)
		if err != nil {
			return
		}
		if buf == nil {
			buf = make([]byte, 32<<10)
		}
		got, err := r.Read(buf[:n])
		credit.add(n - got)
		if ctx.Err() != nil {
			return
		}
		if got > 0 && w.Write(Stdin, buf[:got]) != nil {
			return
		}
		if err != nil {
			break
		}
	}
	_ = w.Write(StdinClose, nil)
}

// sendEvents sends signals and sizes as they come.
func sendEvents(ctx context.Context, w *Writer, s Streams) {
	for s.Resize != nil || s.Signals != nil {
		var err error
		select {
		case <-ctx.Done():
			return
		case size, ok := <-s.Resize:
			if !ok {
				s.Resize = nil
				continue
			}
			err = w.Resize(size)
		case name, ok := <-s.Signals:
			if !ok {
				s.Signals = nil
				continue
			}
			err = w.Write(Signal, []byte(name))
		}
		if err != nil {
			return
		}
	}
}
