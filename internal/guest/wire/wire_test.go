package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/banger-dev/banger/internal/guest/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFrames(t *testing.T) {
	var line bytes.Buffer
	w := NewWriter(&line)
	big := bytes.Repeat([]byte("x"), MaxPayload+1)
	for _, err := range []error{
		w.Write(Stdin, []byte("in")), w.Write(StdinClose, nil), w.Write(Stdout, big), w.Resize(Size{Rows: 1, Cols: 500}),
		w.Window(70000), w.Exit(proto.ExitStatus{Code: 3}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	type frame struct {
		Type    Type
		Payload string
	}
	var got []frame
	for r := NewReader(&line); ; {
		typ, p, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, frame{typ, string(p)})
	}
	want := []frame{
		{Stdin, "in"},
		{StdinClose, ""},
		{Stdout, string(big[:MaxPayload])},
		{Stdout, "x"},
		{Resize, "\x00\x01\x01\xf4"},
		{Window, "\x00\x01\x11\x70"},
		{Exit, `{"code":3}`},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFrameErrors(t *testing.T) {
	for _, tc := range []struct {
		name  string
		bytes string
		want  error
	}{
		{name: "end", bytes: "", want: io.EOF},
		{name: "end in a header", bytes: "\x01\x00", want: io.ErrUnexpectedEOF},
		{name: "end in a payload", bytes: "\x01\x00\x00\x00\x02x", want: io.ErrUnexpectedEOF},
		{name: "end before a payload", bytes: "\x01\x00\x00\x00\x02", want: io.ErrUnexpectedEOF},
		{name: "too large", bytes: "\x01\x00\x01\x00\x01", want: ErrTooLarge},
		{name: "absurd", bytes: "\x01\xff\xff\xff\xff", want: ErrTooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, _, err := NewReader(strings.NewReader(tc.bytes)).Next(); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
	for name, err := range map[string]error{
		"resize": second(ParseResize([]byte("abc"))), "window": second(ParseWindow(nil)), "exit": second(ParseExit([]byte("{"))),
	} {
		if !errors.Is(err, ErrPayload) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func FuzzReader(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x00\x02hi\x03\x00\x00\x00\x00"))
	f.Add([]byte("\x04\x00\x00\x00\x04\x00\x18\x00\x50\x06\x00\x00\x00\x0a{\"code\":1}"))
	f.Add([]byte("\x01\x00\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var again bytes.Buffer
		w := NewWriter(&again)
		r := NewReader(bytes.NewReader(b))
		for {
			typ, p, err := r.Next()
			if err != nil {
				break
			}
			_, _ = ParseResize(p)
			_, _ = ParseWindow(p)
			_, _ = ParseExit(p)
			if err := w.Write(typ, p); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.HasPrefix(b, again.Bytes()) {
			t.Errorf("read %q, wrote %q", b, again.Bytes())
		}
	})
}

const nonce = "0123456789abcdef0123456789abcdef"

func TestLineScanner(t *testing.T) {
	agent := "\x00" + wordAgent + " " + nonce + "\n"
	for _, tc := range []struct {
		name string
		in   string
		want string // the word, empty for none
	}{
		{name: "alone", in: agent, want: wordAgent},
		{name: "after garbage", in: "garbage\n\x00more\n" + agent, want: wordAgent},
		{name: "after its own beginning", in: "\x00BANGER-AG" + agent, want: wordAgent},
		{name: "after a line without end", in: "\x00" + strings.Repeat("A", 1<<16) + agent, want: wordAgent},
		{name: "other words", in: "\x00" + wordReady + " " + nonce + "\n", want: wordReady},
		{name: "unknown word", in: "\x00BANGER-AGENT/2 " + nonce + "\n"},
		{name: "short nonce", in: "\x00" + wordAgent + " " + nonce[1:] + "\n"},
		{name: "not hexadecimal", in: "\x00" + wordAgent + " X" + nonce[1:] + "\n"},
		{name: "no newline", in: agent[:len(agent)-1]},
		{name: "no NUL", in: agent[1:]},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &lineScanner{r: bufio.NewReader(strings.NewReader(tc.in))}
			word, got, err := s.next()
			if word != tc.want || (err == nil) != (tc.want != "") || (err == nil && got != nonce) {
				t.Errorf("got %q %q, error %v", word, got, err)
			}
		})
	}
}

func FuzzHandshake(f *testing.F) {
	f.Add([]byte("\x00" + wordAgent + " " + nonce + "\n\x00" + wordReady + " " + nonce + "\nrest"))
	f.Add([]byte("\x00\x00\n\x00" + wordHost + " " + nonce + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &lineScanner{r: bufio.NewReader(bytes.NewReader(b))}
		for {
			word, got, err := s.next()
			if len(s.line) > maxLine {
				t.Fatalf("holds %d bytes", len(s.line))
			}
			if err != nil {
				break
			}
			if !bytes.Contains(b, []byte("\x00"+word+" "+got+"\n")) {
				t.Fatalf("invented %q %q", word, got)
			}
		}
		// The host's side must end with the line, whatever is on it.
		_ = hostLines(&buffered{Conn: discard{}, r: bufio.NewReader(bytes.NewReader(b))})
	})
}

// discard is a line that takes everything.
type discard struct{ Conn }

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) SetDeadline(time.Time) error { return nil }

// agentOn runs an agent's handshake and one echo on c.
func agentOn(ctx context.Context, c net.Conn) error {
	line, err := GuestHandshake(ctx, c)
	if err != nil {
		return err
	}
	s, err := NewGuestSession(line)
	if err != nil {
		return err
	}
	defer s.Close()
	stream, err := s.Accept()
	if err != nil {
		return err
	}
	_, _ = io.CopyN(stream, stream, 4) // the host judges, and leaves when it has
	<-s.Done()
	return nil
}

// echo runs a host's handshake and checks that the session works.
func echo(ctx context.Context, c net.Conn) error {
	line, err := HostHandshake(ctx, c)
	if err != nil {
		return err
	}
	s, err := NewHostSession(line)
	if err != nil {
		return err
	}
	defer s.Close()
	stream, err := s.Open(ctx)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(stream, "ping"); err != nil {
		return err
	}
	buf := make([]byte, 4)
	if _, err := io.ReadFull(stream, buf); err != nil || string(buf) != "ping" {
		return fmt.Errorf("echo %q: %w", buf, err)
	}
	return nil
}

// TestHandshakeFindsItsWay puts stale bytes on the line, and a host that comes late.
func TestHandshakeFindsItsWay(t *testing.T) {
	old := "\x00" + wordAgent + " ffffffffffffffffffffffffffffffff\n"
	for _, tc := range []struct {
		name         string
		host, agent  string // what is on the line before the handshake, by reader
		hostComesFor time.Duration
	}{
		{name: "clean"},
		{name: "host is late", hostComesFor: 3 * helloInterval},
		{name: "an old hello", host: old},
		{name: "bytes of an old session", host: "\x00\x01\x00\x02" + old + strings.Repeat("\x00", 100), agent: "\x00\x00\x00\x01\nGET"},
		{name: "answers to an old hello", agent: "\x00" + wordHost + " ffffffffffffffffffffffffffffffff\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			host, agent := tcpPair(t)
			for c, stale := range map[net.Conn]string{agent: tc.host, host: tc.agent} {
				if _, err := io.WriteString(c, stale); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- agentOn(ctx, agent) }()
			time.Sleep(tc.hostComesFor)
			if err := echo(ctx, host); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHandshakeGivesUp checks that a handshake ends with its context and leaves the line for another.
func TestHandshakeGivesUp(t *testing.T) {
	host, agent := tcpPair(t)
	for range 2 {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		if _, err := HostHandshake(ctx, host); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("host: %v", err)
		}
		if _, err := GuestHandshake(ctx, agent); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("agent: %v", err)
		}
		cancel()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- agentOn(ctx, agent) }()
	if err := echo(ctx, host); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestHostStartsOver ends a session on the host's side alone, as a host that is replaced does, and begins another.
func TestHostStartsOver(t *testing.T) {
	host, agent := tcpPair(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := agentOn(ctx, keepOpen{agent})
		if err == nil {
			err = agentOn(ctx, agent)
		}
		done <- err
	}()
	if err := echo(ctx, keepOpen{host}); err != nil {
		t.Fatal(err)
	}
	if err := echo(ctx, host); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// keepOpen is a line that outlives its sessions.
type keepOpen struct{ net.Conn }

func (k keepOpen) Close() error { return k.SetDeadline(time.Unix(1, 0)) }

func TestHandshakeOnUnbufferedLine(t *testing.T) {
	host, agent := net.Pipe()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- agentOn(ctx, agent) }()
	if err := echo(ctx, host); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestHandshakeOnClosedLine(t *testing.T) {
	host, agent := tcpPair(t)
	agent.Close()
	if _, err := HostHandshake(context.Background(), host); !errors.Is(err, io.EOF) {
		t.Errorf("error %v", err)
	}
}

// TestOpenGivesUp opens streams that nobody accepts until no more fit.
func TestOpenGivesUp(t *testing.T) {
	host, agent := tcpPair(t)
	s, err := NewHostSession(host)
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	defer s.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	for range 1000 {
		if _, err = s.Open(ctx); err != nil {
			break
		}
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestStreamCloseEndsRead(t *testing.T) {
	host, agent := tcpPair(t)
	s, err := NewHostSession(host)
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	defer s.Close()
	stream, err := s.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error, 1)
	go func() { read <- second(stream.Read(make([]byte, 1))) }()
	stream.Close()
	select {
	case err := <-read:
		if err == nil {
			t.Error("read something")
		}
	case <-time.After(10 * time.Second):
		t.Error("Read goes on")
	}
}

func TestClientReportsBrokenStreams(t *testing.T) {
	for _, tc := range []struct {
		name  string
		bytes string
		want  error
	}{
		{name: "ends early", bytes: "", want: ErrNoExit},
		{name: "ends in a frame", bytes: "\x01\x00\x00\x00\x09x", want: ErrNoExit},
		{name: "too large", bytes: "\x01\xff\xff\xff\xff", want: ErrTooLarge},
		{name: "malformed exit", bytes: "\x06\x00\x00\x00\x01{", want: ErrPayload},
		{name: "malformed window", bytes: "\x07\x00\x00\x00\x01x", want: ErrPayload},
		{name: "unknown frames are skipped", bytes: "\x63\x00\x00\x00\x01x\x06\x00\x00\x00\x02{}"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host, agent := tcpPair(t)
			if _, err := io.WriteString(agent, tc.bytes); err != nil {
				t.Fatal(err)
			}
			agent.(*net.TCPConn).CloseWrite()
			_, err := Client(context.Background(), host, Streams{Stdout: io.Discard})
			if !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
}

// TestClientKeepsToItsWindow checks that no more input comes than was granted.
func TestClientKeepsToItsWindow(t *testing.T) {
	host, agent := tcpPair(t)
	const grant = 1000
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = Client(ctx, host, Streams{Stdin: zeros{}})
	}()
	r := NewReader(agent)
	receiveExactly := func(want int) {
		t.Helper()
		for got := 0; got < want; {
			typ, p, err := r.Next()
			if err != nil || typ != Stdin {
				t.Fatalf("type %d, error %v", typ, err)
			}
			if got += len(p); got > want {
				t.Fatalf("%d bytes, %d were granted", got, want)
			}
		}
		_ = agent.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, _, err := r.Next(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("more came, error %v", err)
		}
		_ = agent.SetReadDeadline(time.Time{})
	}
	receiveExactly(StdinWindow)
	if err := NewWriter(agent).Window(grant); err != nil {
		t.Fatal(err)
	}
	receiveExactly(grant)
	cancel()
	<-done
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// tcpPair is a line with room for what is written before anybody reads.
func tcpPair(t *testing.T) (host, agent net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if host, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if agent, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close(); agent.Close() })
	return host, agent
}

func BenchmarkFrames(b *testing.B) {
	p := make([]byte, 32<<10)
	r, w := io.Pipe()
	go func() {
		fw := NewWriter(w)
		for range b.N {
			if fw.Write(Stdout, p) != nil {
				return
			}
		}
		w.Close()
	}()
	b.SetBytes(int64(len(p)))
	fr := NewReader(r)
	for {
		if _, _, err := fr.Next(); err != nil {
			break
		}
	}
}
