package network

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

// echoUDP answers each datagram to the host's loopback with itself.
func echoUDP(t testing.TB, address string) net.Addr {
	t.Helper()
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, datagramMax)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(buf[:n], from)
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return conn.LocalAddr()
}

// ask sends one datagram and returns the answer.
func ask(conn *gonet.UDPConn, message []byte) ([]byte, error) {
	if err := conn.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return nil, err
	}
	if _, err := conn.Write(message); err != nil {
		return nil, err
	}
	buf := make([]byte, datagramMax)
	n, err := conn.Read(buf)
	return buf[:n], err
}

func TestUDPEcho(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0"} {
		addr := echoUDP(t, listen)
		_, guest := newPair(t, "full")
		conn := guest.dialUDP(onGateway(t, addr))
		for _, size := range []int{0, 1, 1400, 9000, 60000, 65000} {
			t.Run(fmt.Sprintf("%d bytes to %s", size, listen), func(t *testing.T) {
				message := bytes.Repeat([]byte{byte(size), 7}, size)[:size]
				got, err := ask(conn, message)
				if err != nil || !bytes.Equal(got, message) {
					t.Fatalf("got %d bytes, %v", len(got), err)
				}
			})
		}
	}
}

func TestUDPErrors(t *testing.T) {
	closed, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := onGateway(t, closed.LocalAddr())
	_ = closed.Close()
	for _, tc := range []struct{ name, mode, addr, want string }{
		{"nothing listens", "full", refused, "refused"},
		{"denied", "public", "192.168.1.1:53", "timeout"}, // Linux would say more than the guest's stack here
		{"mode none", "none", "1.1.1.1:53", "timeout"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, guest := newPair(t, tc.mode)
			conn := guest.dialUDP(tc.addr)
			if _, err := conn.Write([]byte("anyone?")); err != nil {
				t.Fatal(err)
			}
			unreachable := guest.net.Stats().ICMP.V4.PacketsReceived.DstUnreachable
			eventually(t, "an ICMP error", func() bool { return unreachable.Value() > 0 })
			_ = conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
			if _, err := conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestUDPMulticastIsDropped(t *testing.T) {
	_, guest := newPair(t, "full")
	if _, err := guest.dialUDP("224.0.0.251:5353").Write([]byte("anyone?")); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(guest.dialUDP("10.0.2.3:53"), []byte("0123456789ab")); err != nil || len(got) != 12 {
		t.Fatalf("got %d bytes, %v", len(got), err) // what was sent before has been dealt with
	}
	if n := guest.net.Stats().ICMP.V4.PacketsReceived.DstUnreachable.Value(); n != 0 {
		t.Errorf("%d ICMP errors about multicast", n)
	}
}

func TestUDPFlowsAreBounded(t *testing.T) {
	addr := echoUDP(t, "127.0.0.1:0")
	_, guest := newPair(t, "full")
	for i := range maxFlows + 50 {
		conn := guest.dialUDP(onGateway(t, addr))
		if _, err := ask(conn, []byte("hello")); err != nil {
			t.Fatalf("flow %d: %v", i, err)
		}
		_ = conn.Close()
	}
}

func TestFlowTable(t *testing.T) {
	newFlow := func(t *testing.T, port uint16) *flow {
		conn, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return &flow{conn: conn, key: flowKey{guest: netip.AddrPortFrom(guest4, port)}}
	}
	t.Run("the longest idle makes room", func(t *testing.T) {
		table := newFlowTable()
		for port := range uint16(maxFlows) {
			table.add(newFlow(t, port))
		}
		first, _ := table.get(flowKey{guest: netip.AddrPortFrom(guest4, 0)})
		first.touch()
		table.add(newFlow(t, maxFlows))
		if len(table.flows) != maxFlows {
			t.Errorf("%d flows", len(table.flows))
		}
		if _, ok := table.get(first.key); !ok {
			t.Error("the one used last was forgotten")
		}
		if _, ok := table.get(flowKey{guest: netip.AddrPortFrom(guest4, 1)}); ok {
			t.Error("the longest idle is still there")
		}
	})
	t.Run("an idle flow ends", func(t *testing.T) {
		f := newFlow(t, 1)
		f.used.Store(time.Now().Add(-time.Hour).UnixNano())
		f.receive(func([]byte) {}, func(error) {}) // returns
	})
	t.Run("expiry depends on an answer", func(t *testing.T) {
		f := newFlow(t, 1)
		f.touch()
		before := f.expiry()
		f.answered.Store(true)
		if got := f.expiry().Sub(before); got != idleAnswered-idleUnanswered {
			t.Errorf("an answer adds %s", got)
		}
	})
	t.Run("closed", func(t *testing.T) {
		table := newFlowTable()
		table.close()
		if table.add(newFlow(t, 1)) {
			t.Error("took a flow")
		}
	})
}

// startDNS runs a name server on the host's loopback.
func startDNS(t testing.TB, handler mdns.HandlerFunc) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	server := &mdns.Server{PacketConn: conn, Handler: handler, NotifyStartedFunc: func() { close(started) }}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.ActivateAndServe()
	}()
	<-started
	t.Cleanup(func() {
		_ = server.Shutdown()
		<-done
	})
	return conn.LocalAddr().String()
}

func TestDNSOverLink(t *testing.T) {
	upstream := startDNS(t, func(w mdns.ResponseWriter, q *mdns.Msg) {
		m := new(mdns.Msg).SetReply(q)
		rr, _ := mdns.NewRR(q.Question[0].Name + " 60 IN A 192.0.2.7")
		m.Answer = []mdns.RR{rr}
		_ = w.WriteMsg(m)
	})
	_, guest := newPair(t, "public", upstream)
	for _, tc := range []struct{ network, server string }{
		{"udp", "10.0.2.3:53"}, {"udp", "[fd62:616e:6765::3]:53"}, {"tcp", "10.0.2.3:53"}, {"tcp", "[fd62:616e:6765::3]:53"},
	} {
		t.Run(tc.network+" "+tc.server, func(t *testing.T) {
			conn := mdns.Conn{}
			if tc.network == "tcp" {
				conn.Conn = guest.mustDialTCP(tc.server)
			} else {
				conn.Conn = guest.dialUDP(tc.server)
			}
			_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
			query := new(mdns.Msg).SetQuestion("banger.example.", mdns.TypeA)
			if err := conn.WriteMsg(query); err != nil {
				t.Fatal(err)
			}
			reply, err := conn.ReadMsg()
			if err != nil {
				t.Fatal(err)
			}
			if reply.Id != query.Id || len(reply.Answer) != 1 || !strings.Contains(reply.Answer[0].String(), "192.0.2.7") {
				t.Fatalf("got %s", reply)
			}
		})
	}
}
