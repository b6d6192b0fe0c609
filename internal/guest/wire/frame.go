// Package wire is the language that host and guest agent speak on a byte stream: the handshake that opens a session,
// the multiplexed session itself, and the frames of one exec stream with the client that drives them.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/banger-dev/banger/internal/guest/proto"
)

// Type says what a frame carries.
type Type byte

// The frame types. The peer that may send a type is given in parentheses.
const (
	Stdin      Type = iota // (client) bytes for the process
	Stdout                 // (agent) bytes from the process; with a terminal, everything it shows
	Stderr                 // (agent) bytes from the process
	StdinClose             // (client) no more standard input; no payload
	Resize                 // (client) rows and columns, two big-endian uint16
	Signal                 // (client) a signal's name without SIG, such as INT
	Exit                   // (agent) JSON proto.ExitStatus; nothing follows it
	Window                 // (agent) big-endian uint32: so many more bytes of Stdin may be sent
)

const (
	// MaxPayload is the largest payload of a frame, in bytes.
	MaxPayload = 64 << 10
	// StdinWindow is how many bytes of standard input the client may send before the first Window frame. The agent
	// buffers at most that much, so it always reads on and a signal is never stuck behind input nobody takes.
	StdinWindow = 256 << 10

	headerSize = 5
)

// Errors of a peer that breaks the protocol.
var (
	ErrTooLarge = errors.New("frame larger than 64 KiB")
	ErrPayload  = errors.New("malformed frame payload")
)

// Size is a terminal's size in characters.
type Size struct{ Rows, Cols uint16 }

// Reader reads frames from a stream.
type Reader struct {
	r   io.Reader
	buf []byte
}

// NewReader returns a Reader on r, which should be buffered.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Next returns the next frame. The payload is valid until the next call. At the end of the stream it returns [io.EOF],
// inside a frame [io.ErrUnexpectedEOF]. Types that it does not know are returned like any other.
func (r *Reader) Next() (Type, []byte, error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(r.r, h[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(h[1:])
	if n > MaxPayload {
		return 0, nil, fmt.Errorf("read frame of type %d and %d bytes: %w", h[0], n, ErrTooLarge)
	}
	if cap(r.buf) < int(n) {
		r.buf = make([]byte, n)
	}
	p := r.buf[:n]
	if _, err := io.ReadFull(r.r, p); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return Type(h[0]), p, nil
}

// Writer writes frames to a stream. It may be used by several goroutines.
type Writer struct {
	mu  sync.Mutex
	w   io.Writer
	buf []byte
}

// NewWriter returns a Writer on w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write sends p as one frame, or as several when it is longer than [MaxPayload].
func (w *Writer) Write(t Type, p []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		n := min(len(p), MaxPayload)
		// One write a frame: the session below makes a message of each.
		w.buf = append(w.buf[:0], byte(t), 0, 0, 0, 0)
		binary.BigEndian.PutUint32(w.buf[1:], uint32(n))
		w.buf = append(w.buf, p[:n]...)
		if _, err := w.w.Write(w.buf); err != nil {
			return err
		}
		if p = p[n:]; len(p) == 0 {
			return nil
		}
	}
}

// Resize sends a terminal's size.
func (w *Writer) Resize(s Size) error {
	return w.Write(Resize, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, s.Rows), s.Cols))
}

// Window lets the client send n more bytes of standard input.
func (w *Writer) Window(n int) error {
	return w.Write(Window, binary.BigEndian.AppendUint32(nil, uint32(n)))
}

// Exit sends the process's end.
func (w *Writer) Exit(s proto.ExitStatus) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return w.Write(Exit, b)
}

// ParseResize reads the payload of a Resize frame.
func ParseResize(p []byte) (Size, error) {
	if len(p) != 4 {
		return Size{}, fmt.Errorf("resize of %d bytes: %w", len(p), ErrPayload)
	}
	return Size{Rows: binary.BigEndian.Uint16(p), Cols: binary.BigEndian.Uint16(p[2:])}, nil
}

// ParseWindow reads the payload of a Window frame.
func ParseWindow(p []byte) (int, error) {
	if len(p) != 4 {
		return 0, fmt.Errorf("window of %d bytes: %w", len(p), ErrPayload)
	}
	return int(binary.BigEndian.Uint32(p)), nil
}

// ParseExit reads the payload of an Exit frame.
func ParseExit(p []byte) (proto.ExitStatus, error) {
	var s proto.ExitStatus
	if err := json.Unmarshal(p, &s); err != nil {
		return s, fmt.Errorf("exit status %q: %w", p, ErrPayload)
	}
	return s, nil
}
