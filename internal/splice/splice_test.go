package splice

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n"

// What the backend says last arrives, although it stopped listening while the client was still talking.
func TestLastWords(t *testing.T) {
	ours, theirs := net.Pipe()
	stopped := make(chan struct{})
	go func() {
		defer theirs.Close()
		if _, err := http.ReadRequest(bufio.NewReader(theirs)); err != nil {
			t.Error(err)
		}
		_, _ = io.WriteString(theirs, switching)
		<-stopped
		_, _ = io.WriteString(theirs, "exit status 7")
	}()
	// The pipe to the backend fails on its write side alone, as a stream whose reader has left does.
	backend := &halfDeaf{Conn: ours, stopped: stopped}
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "backend" },
		Transport:      &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return backend, nil }},
		ModifyResponse: KeepAnswer,
	}
	server := httptest.NewServer(proxy)
	defer server.Close()
	client, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_ = client.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprint(client, "POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n")
	r := bufio.NewReader(client)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	fmt.Fprint(client, "input that nobody reads")
	got := make([]byte, len("exit status 7"))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != "exit status 7" {
		t.Errorf("%q, %v", got, err)
	}
}

// halfDeaf takes one request and then fails all writes, saying so first.
type halfDeaf struct {
	net.Conn
	stopped chan struct{}
	writes  int
}

func (h *halfDeaf) Write(p []byte) (int, error) {
	h.writes++
	if h.writes > 1 {
		if h.writes == 2 {
			defer close(h.stopped)
		}
		return 0, io.ErrClosedPipe
	}
	return h.Conn.Write(p)
}
