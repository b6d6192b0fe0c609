package agent

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/guest/wire"
)

const (
	chunk = 32 << 10
	// maxDrain bounds what is still sent after a process has exited, in bytes: no pipe of an ordinary user holds more,
	// and a background child could write forever.
	maxDrain = 1 << 20
)

// output is one stream of a process on its way to the client.
type output struct {
	file *os.File
	kind wire.Type
}

// pump sends what the process writes, until it closes the stream or [output.finish] is called; then what is there
// already. A client that takes nothing makes the process wait. When the client is gone the stream is closed.
func (o *output) pump(w *wire.Writer) {
	buf := make([]byte, chunk)
	for {
		n, err := o.file.Read(buf)
		if n > 0 && w.Write(o.kind, buf[:n]) != nil {
			o.file.Close()
			return
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			o.drain(w, buf)
			return
		}
		if err != nil { // EOF, or EIO when a terminal's last user is gone
			return
		}
	}
}

// finish makes pump return without waiting for more: the process has exited, and whoever else still holds the stream
// is not waited for.
func (o *output) finish() {
	if o.file != nil {
		_ = o.file.SetReadDeadline(time.Unix(1, 0)) // fails only when it is closed already
	}
}

// drain sends what can be read without waiting.
func (o *output) drain(w *wire.Writer, buf []byte) {
	raw, err := o.file.SyscallConn()
	if err != nil || o.file.SetReadDeadline(time.Time{}) != nil {
		return
	}
	for sent := 0; sent < maxDrain; {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			n, err = unix.Read(int(fd), buf)
			return true // whatever it said: no waiting
		})
		if err != nil || n <= 0 || w.Write(o.kind, buf[:n]) != nil {
			return
		}
		sent += n
	}
}

// errOverrun is a client that sends more than it was allowed to.
var errOverrun = errors.New("standard input exceeds its window")

// input is a process's standard input on its way from the client. It holds at most [wire.StdinWindow] bytes.
type input struct {
	file *os.File // nil: the process has none, bytes are dropped
	tty  bool
	w    *wire.Writer

	mu     sync.Mutex
	change *sync.Cond
	buf    []byte
	ended  bool // no more will be added
	closed bool // the process is gone
}

func newInput(file *os.File, tty bool, w *wire.Writer) *input {
	in := &input{file: file, tty: tty, w: w}
	in.change = sync.NewCond(&in.mu)
	return in
}

// add takes bytes from the client. It does not wait.
func (in *input) add(p []byte) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.file == nil || in.ended || in.closed {
		return nil
	}
	if len(in.buf)+len(p) > wire.StdinWindow {
		return errOverrun
	}
	in.buf = append(in.buf, p...)
	in.change.Signal()
	return nil
}

// end says that the client sends no more.
func (in *input) end() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ended = true
	in.change.Signal()
}

// close makes pump return. The file must have been closed, in case that pump waits for the process.
func (in *input) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed, in.buf = true, nil
	in.change.Signal()
}

// pump writes to the process what the client sends and grants as much again, until either has ended.
func (in *input) pump() {
	var spare []byte
	granted := 0 // bytes taken but not yet granted anew
	for {
		p, ok := in.take(spare)
		if !ok {
			in.finish()
			return
		}
		if _, err := in.file.Write(p); err != nil {
			in.close() // the process takes no more; what the client still sends goes nowhere
			return
		}
		if granted += len(p); granted >= wire.StdinWindow/4 && in.w.Window(granted) == nil {
			granted = 0
		}
		spare = p
	}
}

// take waits for bytes and returns all that are there; spare is the memory of an earlier answer.
func (in *input) take(spare []byte) ([]byte, bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.buf) == 0 && !in.ended && !in.closed {
		in.change.Wait()
	}
	if len(in.buf) == 0 {
		return nil, false
	}
	p := in.buf
	in.buf = spare[:0]
	return p, true
}

// finish closes the process's standard input, or tells it by the terminal's end-of-file character.
func (in *input) finish() {
	if in.tty {
		const endOfTransmission = 4
		_, _ = in.file.Write([]byte{endOfTransmission}) // fails only when the terminal is gone
		return
	}
	in.file.Close()
}
