package wire

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// The line between host and guest has no connections: either end may restart and leave bytes of an old session in it.
// So a session begins with lines, each a NUL, a word, a nonce of 32 hexadecimal digits and a newline:
//
//	host:  \x00BANGER-HOST/1 000...0\n   once; an agent that is still in an old session takes offence and greets
//	agent: \x00BANGER-AGENT/1 <nonce>\n  its own nonce, repeated until the host answers
//	host:  \x00BANGER-HOST/1 <nonce>\n   once
//	agent: \x00BANGER-READY/1 <nonce>\n  once; from here on the bytes are the session's
//
// Each side skips whatever else it reads. The last line is what lets the host tell repeated hellos, which may still be
// on their way when its answer is, from the session.
const (
	wordAgent = "BANGER-AGENT/1"
	wordHost  = "BANGER-HOST/1"
	wordReady = "BANGER-READY/1"

	nonceLen = 32
	maxLine  = len(wordAgent) + 1 + nonceLen
	// helloInterval is how long the agent waits for an answer before it says hello again: the host may have lost the
	// first one together with an old session.
	helloInterval = 500 * time.Millisecond
)

// Conn is the line between host and guest.
type Conn interface {
	io.ReadWriteCloser
	SetDeadline(t time.Time) error
	SetReadDeadline(t time.Time) error
}

// lineScanner finds handshake lines among other bytes, with bounded memory.
type lineScanner struct {
	r    *bufio.Reader
	line []byte
	in   bool // a NUL began a line
}

// next returns the next well-formed line. After a deadline it goes on where it was.
func (s *lineScanner) next() (word, nonce string, err error) {
	for {
		b, err := s.r.ReadByte()
		if err != nil {
			return "", "", err
		}
		switch {
		case b == 0:
			s.in, s.line = true, s.line[:0]
		case !s.in:
		case b == '\n':
			s.in = false
			if word, nonce, ok := parseLine(string(s.line)); ok {
				return word, nonce, nil
			}
		case len(s.line) == maxLine:
			s.in = false
		default:
			s.line = append(s.line, b)
		}
	}
}

func parseLine(line string) (word, nonce string, ok bool) {
	word, nonce, ok = strings.Cut(line, " ")
	if !ok || len(nonce) != nonceLen || strings.Trim(nonce, "0123456789abcdef") != "" {
		return "", "", false
	}
	switch word {
	case wordAgent, wordHost, wordReady:
		return word, nonce, true
	}
	return "", "", false
}

func writeLine(w io.Writer, word, nonce string) error {
	_, err := io.WriteString(w, "\x00"+word+" "+nonce+"\n")
	return err
}

// buffered is a Conn whose first bytes were read already.
type buffered struct {
	Conn
	r *bufio.Reader
}

func (b *buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// interruptible runs f, whose reads and writes on c fail as soon as ctx ends. An earlier deadline of c is lifted.
func interruptible(ctx context.Context, c Conn, f func() error) error {
	if err := c.SetDeadline(time.Time{}); err != nil {
		return err
	}
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		_ = c.SetDeadline(time.Unix(1, 0)) // fails when c is closed, and then f fails without it
	})
	err := f()
	if !stop() {
		<-interrupted
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	return c.SetDeadline(time.Time{})
}

// HostHandshake waits for an agent on c and agrees with it on a session. When it fails, and c is still open, it may be
// called again. The line must not be in use by a session on this side.
func HostHandshake(ctx context.Context, c Conn) (Conn, error) {
	b := &buffered{Conn: c, r: bufio.NewReader(c)}
	err := interruptible(ctx, c, func() error { return hostLines(b) })
	if err != nil {
		return nil, fmt.Errorf("wait for the guest agent: %w", err)
	}
	return b, nil
}

func hostLines(b *buffered) error {
	// The agent may be about to write, too, and on an unbuffered line neither would then read.
	reset := make(chan error, 1)
	go func() { reset <- writeLine(b, wordHost, strings.Repeat("0", nonceLen)) }()
	err := awaitReady(b, reset)
	if err != nil {
		_ = b.SetDeadline(time.Unix(1, 0))
	}
	if resetErr := <-reset; err == nil {
		err = resetErr
	}
	return err
}

// awaitReady answers hellos until an agent is ready. It writes once it has heard from reset.
func awaitReady(b *buffered, reset chan error) error {
	s := &lineScanner{r: b.r}
	answered := ""
	for {
		word, nonce, err := s.next()
		if err != nil {
			return err
		}
		switch {
		case word == wordReady && nonce == answered:
			return nil
		case word == wordAgent && nonce != answered:
			if answered == "" {
				err := <-reset
				reset <- err
				if err != nil {
					return err
				}
			}
			if err := writeLine(b, wordHost, nonce); err != nil {
				return err
			}
			answered = nonce
		}
	}
}

// GuestHandshake greets the host on c until it answers.
func GuestHandshake(ctx context.Context, c Conn) (Conn, error) {
	var raw [nonceLen / 2]byte
	_, _ = rand.Read(raw[:]) // never fails
	b := &buffered{Conn: c, r: bufio.NewReader(c)}
	err := interruptible(ctx, c, func() error { return guestLines(ctx, b, hex.EncodeToString(raw[:])) })
	if err != nil {
		return nil, fmt.Errorf("greet the host: %w", err)
	}
	return b, nil
}

func guestLines(ctx context.Context, b *buffered, nonce string) error {
	s := &lineScanner{r: b.r}
	for {
		if err := writeLine(b, wordAgent, nonce); err != nil {
			return err
		}
		if err := b.SetReadDeadline(time.Now().Add(helloInterval)); err != nil {
			return err
		}
		if ctx.Err() != nil { // its end may have been overwritten by the deadline above
			return ctx.Err()
		}
		err := awaitAnswer(s, nonce)
		if err == nil {
			return writeLine(b, wordReady, nonce)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

func awaitAnswer(s *lineScanner, nonce string) error {
	for {
		word, got, err := s.next()
		if err != nil {
			return err
		}
		if word == wordHost && got == nonce {
			return nil
		}
	}
}
