package httpapi

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/guest/wire"
)

// shim answers one exec with what serve does to the stream.
func shim(t *testing.T, serve func(req api.ExecRequest, conn net.Conn, r *bufio.Reader)) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		r := bufio.NewReader(theirs)
		hr, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		if hr.URL.Path != "/v1/agent/v1/exec" || hr.Header.Get("Upgrade") != proto.UpgradeStream {
			t.Errorf("the shim got %s with %v", hr.URL, hr.Header)
		}
		var req api.ExecRequest
		if err := json.NewDecoder(hr.Body).Decode(&req); err != nil {
			t.Error(err)
		}
		serve(req, theirs, r)
	}()
	return ours
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: banger-stream/1\r\n\r\n"

func TestExec(t *testing.T) {
	s := &stub{}
	c, _ := serve(t, s)
	s.dial = func() (net.Conn, error) {
		return shim(t, func(req api.ExecRequest, conn net.Conn, r *bufio.Reader) {
			_, _ = io.WriteString(conn, switching)
			w, in := wire.NewWriter(conn), wire.NewReader(r)
			for {
				kind, p, err := in.Next()
				if err != nil || kind == wire.StdinClose {
					break
				}
				if kind == wire.Stdin {
					_ = w.Write(wire.Stdout, []byte(strings.ToUpper(string(p))))
				}
			}
			_ = w.Write(wire.Stderr, []byte(req.Command[0]))
			_ = w.Exit(proto.ExitStatus{Code: 42})
		}), nil
	}
	var out, errs strings.Builder
	status, err := c.Exec(t.Context(), "web", api.ExecRequest{Command: []string{"cmd"}, Stdin: true},
		api.Streams{Stdin: strings.NewReader("hello"), Stdout: &out, Stderr: &errs})
	if err != nil || status.Code != 42 || out.String() != "HELLO" || errs.String() != "cmd" {
		t.Errorf("%+v, %v, %q, %q", status, err, out.String(), errs.String())
	}
}

func TestExecFailures(t *testing.T) {
	s := &stub{}
	c, _ := serve(t, s)
	req := api.ExecRequest{Command: []string{"cmd"}}
	for _, test := range []struct {
		name  string
		serve func(req api.ExecRequest, conn net.Conn, r *bufio.Reader)
		dial  error
		want  error
		text  string
	}{
		{"no such vm", nil, errdefs.New(errdefs.ErrNotFound, "vm not found"), errdefs.ErrNotFound, "vm not found"},
		{"shim dies at once", func(_ api.ExecRequest, conn net.Conn, _ *bufio.Reader) { conn.Close() }, nil, errdefs.ErrUnavailable, "call the guest agent"},
		{"agent refuses", func(_ api.ExecRequest, conn net.Conn, _ *bufio.Reader) {
			_, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nContent-Length: 45\r\n\r\n"+`{"status":400,"code":"invalid","detail":"bad"}`[:45])
		}, nil, nil, ""},
		{"agent refuses in plain text", func(_ api.ExecRequest, conn net.Conn, _ *bufio.Reader) {
			_, _ = io.WriteString(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nbusy\n")
		}, nil, errdefs.ErrUnavailable, "busy"},
		{"guest dies meanwhile", func(_ api.ExecRequest, conn net.Conn, _ *bufio.Reader) { _, _ = io.WriteString(conn, switching) }, nil, api.ErrNoExit, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.dial = func() (net.Conn, error) {
				if test.dial != nil {
					return nil, test.dial
				}
				return shim(t, test.serve), nil
			}
			_, err := c.Exec(t.Context(), "web", req, api.Streams{})
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%v, want %v with %q", err, test.want, test.text)
			}
		})
	}
}

// An exec stream is no request: the daemon lets go of its state while one goes on.
func TestStreamsAreNotRequests(t *testing.T) {
	s := &stub{}
	c, server := serve(t, s)
	handler := server.Config.Handler.(*Server)
	begun, end := make(chan struct{}), make(chan struct{})
	s.dial = func() (net.Conn, error) {
		return shim(t, func(_ api.ExecRequest, conn net.Conn, _ *bufio.Reader) {
			_, _ = io.WriteString(conn, switching)
			close(begun)
			<-end
			_ = wire.NewWriter(conn).Exit(proto.ExitStatus{})
		}), nil
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.Exec(t.Context(), "web", api.ExecRequest{Command: []string{"cmd"}}, api.Streams{})
		done <- err
	}()
	<-begun
	select {
	case <-handler.Requests():
	case <-time.After(5 * time.Second):
		t.Error("the stream counts as a request")
	}
	select {
	case <-handler.Streams():
		t.Error("the stream does not count as one")
	default:
	}
	close(end)
	if err := <-done; err != nil {
		t.Error(err)
	}
	select {
	case <-handler.Streams():
	case <-time.After(5 * time.Second):
		t.Error("the stream still counts")
	}
}
