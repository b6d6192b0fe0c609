package network

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTCPEcho(t *testing.T) {
	for _, tc := range []struct {
		name   string
		listen string
		size   int64
	}{
		{"a few bytes over IPv4", "127.0.0.1:0", 10},
		{"a few bytes over IPv6", "[::1]:0", 10},
		{"100 MB each way", "127.0.0.1:0", 100 << 20},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr := listenTCP(t, tc.listen, echo)
			_, guest := newPair(t, "full")
			exchange(t, guest.mustDialTCP(onGateway(t, addr)), tc.size)
		})
	}
}

// exchange sends random bytes to an echo server and checks what comes back.
func exchange(t *testing.T, conn *gonet.TCPConn, size int64) {
	t.Helper()
	sent, got := sha256.New(), sha256.New()
	var sender sync.WaitGroup
	sender.Go(func() {
		if _, err := io.CopyN(io.MultiWriter(conn, sent), rand.Reader, size); err != nil {
			t.Errorf("send: %v", err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Errorf("end: %v", err)
		}
	})
	n, err := io.Copy(got, conn)
	sender.Wait()
	if err != nil || n != size {
		t.Fatalf("received %d bytes of %d: %v", n, size, err)
	}
	if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Fatal("what came back is not what was sent")
	}
}

// TestTCPOneOfMany uses a connection whose buffers are small because there are so many.
func TestTCPOneOfMany(t *testing.T) {
	addr := listenTCP(t, "127.0.0.1:0", echo)
	_, guest := newPair(t, "full")
	for range manyTCP {
		guest.mustDialTCP(onGateway(t, addr))
	}
	exchange(t, guest.mustDialTCP(onGateway(t, addr)), 10<<20)
}

func TestTCPFailures(t *testing.T) {
	unused := listenTCP(t, "127.0.0.1:0", echo)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := closed.Addr()
	_ = closed.Close()
	for _, tc := range []struct {
		name, mode, addr, want string
	}{
		{"nothing listens", "full", onGateway(t, refused), "refused"},
		{"the gateway is not for mode public", "public", onGateway(t, unused), "no route"},
		{"private range", "public", "192.168.1.1:80", "no route"},
		{"metadata", "public", "169.254.169.254:80", "no route"},
		{"mode none", "none", "1.1.1.1:80", "no route"},
		{"mode none has no name server", "none", "10.0.2.3:53", "no route"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, guest := newPair(t, tc.mode)
			start := time.Now()
			_, err := guest.dialTCP(tc.addr)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got error %v, want one with %q", err, tc.want)
			}
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("took %s: the guest was not told", took)
			}
		})
	}
}

// The test guest's stack does not turn ICMPv6's "administratively prohibited" into an error, as Linux does: look at
// what it received.
func TestTCPDeniedIPv6(t *testing.T) {
	_, guest := newPair(t, "public")
	dialed := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(dialed)
		remote, protocol := guest.address("[fd00::1]:80")
		if _, err := gonet.DialContextTCP(ctx, guest.net, remote, protocol); err == nil {
			t.Error("connected")
		}
	}()
	unreachable := guest.net.Stats().ICMP.V6.PacketsReceived.DstUnreachable
	eventually(t, "an ICMPv6 error", func() bool { return unreachable.Value() > 0 })
	cancel()
	<-dialed
}

func TestTCPHalfClose(t *testing.T) {
	t.Run("guest ends first", func(t *testing.T) {
		addr := listenTCP(t, "127.0.0.1:0", func(conn *net.TCPConn) {
			request, _ := io.ReadAll(conn)
			_, _ = fmt.Fprintf(conn, "got %d bytes", len(request))
		})
		_, guest := newPair(t, "full")
		conn := guest.mustDialTCP(onGateway(t, addr))
		if _, err := conn.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if reply, err := io.ReadAll(conn); err != nil || string(reply) != "got 1000 bytes" {
			t.Fatalf("got %q, %v", reply, err)
		}
	})
	t.Run("host ends first", func(t *testing.T) {
		got := make(chan string, 1)
		addr := listenTCP(t, "127.0.0.1:0", func(conn *net.TCPConn) {
			_, _ = io.WriteString(conn, "hello")
			_ = conn.CloseWrite()
			rest, _ := io.ReadAll(conn)
			got <- string(rest)
		})
		_, guest := newPair(t, "full")
		conn := guest.mustDialTCP(onGateway(t, addr))
		if greeting, err := io.ReadAll(conn); err != nil || string(greeting) != "hello" {
			t.Fatalf("got %q, %v", greeting, err)
		}
		if _, err := io.WriteString(conn, "and bye"); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if rest := <-got; rest != "and bye" {
			t.Fatalf("the host got %q", rest)
		}
	})
}

func TestTCPReset(t *testing.T) {
	t.Run("of the host reaches the guest", func(t *testing.T) {
		addr := listenTCP(t, "127.0.0.1:0", func(conn *net.TCPConn) {
			_, _ = conn.Read(make([]byte, 1)) // before that, a reset would be a refusal
			_ = conn.SetLinger(0)
		})
		_, guest := newPair(t, "full")
		conn := guest.mustDialTCP(onGateway(t, addr))
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(conn); err == nil || !strings.Contains(err.Error(), "reset") {
			t.Fatalf("got %v, want a reset", err)
		}
	})
	t.Run("of the guest reaches a host that waits", func(t *testing.T) {
		got := make(chan error, 1)
		addr := listenTCP(t, "127.0.0.1:0", func(conn *net.TCPConn) {
			_, err := conn.Read(make([]byte, 1))
			got <- err
		})
		_, guest := newPair(t, "full")
		guest.mustDialTCP(onGateway(t, addr))
		for _, e := range guest.net.RegisteredEndpoints() {
			e.Abort()
		}
		select {
		case err := <-got:
			if err == nil || errors.Is(err, io.EOF) {
				t.Fatalf("got %v, want a reset", err)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("the host was not told")
		}
	})
}

func TestTCPManyConnections(t *testing.T) {
	const connections = 500
	addr := listenTCP(t, "127.0.0.1:0", echo)
	_, guest := newPair(t, "full")
	target := onGateway(t, addr)
	var all sync.WaitGroup
	for i := range connections {
		all.Go(func() {
			conn, err := guest.dialTCP(target)
			if err != nil {
				t.Errorf("connection %d: %v", i, err)
				return
			}
			defer func() { _ = conn.Close() }()
			message := fmt.Sprintf("this is connection %d", i)
			if _, err := io.WriteString(conn, message); err != nil {
				t.Errorf("connection %d: %v", i, err)
			}
			_ = conn.CloseWrite()
			if reply, err := io.ReadAll(conn); err != nil || string(reply) != message {
				t.Errorf("connection %d: got %q, %v", i, reply, err)
			}
		})
	}
	all.Wait()
}

func TestCloseEndsConnections(t *testing.T) {
	addr := listenTCP(t, "127.0.0.1:0", echo)
	s, guest := newPair(t, "full")
	for range 10 {
		guest.mustDialTCP(onGateway(t, addr))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("second close: %v", err)
	}
}
