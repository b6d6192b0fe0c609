package network

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// sendPing sends one echo request. The endpoint gets the reply.
func (g *testGuest) sendPing(t *testing.T, addr string, data []byte) (tcpip.Endpoint, <-chan struct{}) {
	t.Helper()
	dst := netip.MustParseAddr(addr)
	protocol, transport, kind := ipv4.ProtocolNumber, icmp.ProtocolNumber4, byte(header.ICMPv4Echo)
	if dst.Is6() {
		protocol, transport, kind = ipv6.ProtocolNumber, icmp.ProtocolNumber6, byte(header.ICMPv6EchoRequest)
	}
	var queue waiter.Queue
	ep, err := g.net.NewEndpoint(transport, protocol, &queue)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ep.Close)
	if err := ep.Connect(tcpip.FullAddress{NIC: nic, Addr: toStack(dst)}); err != nil {
		t.Fatal(err)
	}
	entry, ready := waiter.NewChannelEntry(waiter.ReadableEvents)
	queue.EventRegister(&entry)
	message := append([]byte{kind, 0, 0, 0, 0, 0, 0, 1}, data...)
	if _, err := ep.Write(bytes.NewReader(message), tcpip.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return ep, ready
}

// ping sends one echo request and returns what came back, nil if nothing did.
func (g *testGuest) ping(t *testing.T, addr string, data []byte) []byte {
	t.Helper()
	ep, ready := g.sendPing(t, addr, data)
	select {
	case <-ready:
	case <-time.After(2 * time.Second):
		return nil
	}
	var got bytes.Buffer
	if _, err := ep.Read(&got, tcpip.ReadOptions{}); err != nil {
		t.Fatal(err)
	}
	return got.Bytes()[header.ICMPv4MinimumSize:]
}

func TestPingOwnAddresses(t *testing.T) {
	_, guest := newPair(t, "public")
	for _, addr := range []string{"10.0.2.2", "10.0.2.3", "fd62:616e:6765::2", "fd62:616e:6765::3"} {
		if got := guest.ping(t, addr, []byte("hello")); string(got) != "hello" {
			t.Errorf("%s: got %q", addr, got)
		}
	}
}

func TestPingDenied(t *testing.T) {
	_, guest := newPair(t, "public")
	for addr, count := range map[string]func() uint64{
		"192.168.1.1": guest.net.Stats().ICMP.V4.PacketsReceived.DstUnreachable.Value,
		"fd00::1":     guest.net.Stats().ICMP.V6.PacketsReceived.DstUnreachable.Value,
	} {
		guest.sendPing(t, addr, nil)
		eventually(t, "an ICMP error about "+addr, func() bool { return count() > 0 })
	}
}

// TestPingForwarded needs a user who may have ping sockets; where there are none, the guest must be told.
func TestPingForwarded(t *testing.T) {
	conn, err := dialPing(netip.MustParseAddr("127.0.0.1"))
	permitted := err == nil
	if permitted {
		_ = conn.Close()
	} else if !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) {
		t.Fatal(err)
	}
	_, guest := newPair(t, "full")
	own := hostAddress(t)
	data := bytes.Repeat([]byte("banger"), 200)
	if !permitted {
		guest.sendPing(t, own.String(), data)
		unreachable := guest.net.Stats().ICMP.V4.PacketsReceived.DstUnreachable
		eventually(t, "an ICMP error", func() bool { return unreachable.Value() > 0 })
		return
	}
	for range 2 { // the second finds the flow of the first, or its own
		if got := guest.ping(t, own.String(), data); !bytes.Equal(got, data) {
			t.Errorf("got %d bytes", len(got))
		}
	}
}
