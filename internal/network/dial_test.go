package network

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"

	"github.com/banger-dev/banger/internal/errdefs"
)

func TestDialGuest(t *testing.T) {
	s, guest := newPair(t, "public")
	for _, protocol := range []tcpip.NetworkProtocolNumber{ipv4.ProtocolNumber, ipv6.ProtocolNumber} {
		guest.echoTCP(protocol, 7)
		guest.echoUDP(protocol, 7)
	}
	for _, network := range []string{"tcp", "tcp4", "tcp6", "udp", "udp4", "udp6"} {
		t.Run(network, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			defer cancel()
			conn, err := s.DialGuest(ctx, network, 7)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
			if _, err := io.WriteString(conn, "hello"); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 5)
			if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "hello" {
				t.Fatalf("got %q, %v", buf, err)
			}
		})
	}
	t.Run("nothing listens", func(t *testing.T) {
		if _, err := s.DialGuest(context.Background(), "tcp", 8); !errors.Is(err, errdefs.ErrUnavailable) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("unknown network", func(t *testing.T) {
		if _, err := s.DialGuest(context.Background(), "sctp", 7); !errors.Is(err, errdefs.ErrInvalid) {
			t.Fatalf("got %v", err)
		}
	})
}

func (g *testGuest) echoTCP(protocol tcpip.NetworkProtocolNumber, port uint16) {
	g.t.Helper()
	l, err := gonet.ListenTCP(g.net, tcpip.FullAddress{NIC: nic, Addr: own(protocol), Port: port}, protocol)
	if err != nil {
		g.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(conn, conn)
			_ = conn.Close()
		}
	}()
	g.t.Cleanup(func() {
		l.Shutdown()
		_ = l.Close()
		<-done
	})
}

func (g *testGuest) echoUDP(protocol tcpip.NetworkProtocolNumber, port uint16) {
	g.t.Helper()
	conn, err := gonet.DialUDP(g.net, &tcpip.FullAddress{NIC: nic, Addr: own(protocol), Port: port}, nil, protocol)
	if err != nil {
		g.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(buf[:n], from)
		}
	}()
	g.t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
}

func own(protocol tcpip.NetworkProtocolNumber) tcpip.Address {
	if protocol == ipv4.ProtocolNumber {
		return toStack(guest4)
	}
	return toStack(guest6)
}
