package network

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// testGuest plays the guest: a second stack at the other end of the link.
type testGuest struct {
	t    testing.TB
	net  *stack.Stack
	conn net.Conn
	dev  *channel.Endpoint
}

const guestMAC = tcpip.LinkAddress("\x52\x54\x00\x12\x34\x56")

// newPair starts a stack with a guest on a socket pair, as with a real VMM.
func newPair(t testing.TB, mode string, resolvers ...string) (*Stack, *testGuest) {
	t.Helper()
	host, guest := socketPair(t)
	return newPairOn(t, host, guest, mode, resolvers...)
}

func newPairOn(t testing.TB, host, guest net.Conn, mode string, resolvers ...string) (*Stack, *testGuest) {
	t.Helper()
	policy, err := ParsePolicy(mode)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(host, Config{
		Policy:    policy,
		Resolvers: func() []string { return resolvers },
		Log:       slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	g := newTestGuest(t, guest)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s, g
}

// socketPair returns a connected pair of stream sockets, as a driver makes for QEMU.
func socketPair(t testing.TB) (net.Conn, net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]net.Conn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "link")
		if conns[i], err = net.FileConn(file); err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
	}
	return conns[0], conns[1]
}

func newTestGuest(t testing.TB, conn net.Conn) *testGuest {
	t.Helper()
	dev := channel.New(4096, MTU+etherHeader, guestMAC)
	dev.LinkEPCapabilities = stack.CapabilityRXChecksumOffload
	g := &testGuest{t: t, conn: conn, dev: dev, net: stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{
			tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6,
		},
	})}
	if err := g.net.CreateNIC(nic, ethernet.New(dev)); err != nil {
		t.Fatal(err)
	}
	for _, p := range []netip.Prefix{
		netip.PrefixFrom(guest4, subnet4.Bits()), netip.PrefixFrom(guest6, subnet6.Bits()),
	} {
		if err := g.net.AddProtocolAddress(nic, protocolAddress(p), stack.AddressProperties{}); err != nil {
			t.Fatal(err)
		}
	}
	g.net.SetRouteTable([]tcpip.Route{
		{Destination: subnet(subnet4), NIC: nic},
		{Destination: subnet(subnet6), NIC: nic},
		{Destination: header.IPv4EmptySubnet, Gateway: toStack(gateway4), NIC: nic},
		{Destination: header.IPv6EmptySubnet, Gateway: toStack(gateway6), NIC: nic},
	})
	if err := tuneTCP(g.net); err != nil {
		t.Fatal(err)
	}
	g.pump()
	return g
}

func subnet(p netip.Prefix) tcpip.Subnet {
	return tcpip.AddressWithPrefix{Address: toStack(p.Addr()), PrefixLen: p.Bits()}.Subnet()
}

// pump moves frames between the guest's device and its end of the link.
func (g *testGuest) pump() {
	ctx, cancel := context.WithCancel(context.Background())
	var pumps sync.WaitGroup
	pumps.Go(func() {
		for pkt := g.dev.ReadContext(ctx); pkt != nil; pkt = g.dev.ReadContext(ctx) {
			frame := pkt.ToView()
			pkt.DecRef()
			bufs := net.Buffers{binary.BigEndian.AppendUint32(nil, uint32(frame.Size())), frame.AsSlice()}
			_, err := bufs.WriteTo(g.conn)
			frame.Release()
			if err != nil {
				return
			}
		}
	})
	pumps.Go(func() {
		frames := newFrameReader(g.conn)
		for {
			frame, err := frames.next()
			if err != nil {
				return
			}
			pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(frame)})
			g.dev.InjectInbound(0, pkt)
			pkt.DecRef()
		}
	})
	g.t.Cleanup(func() {
		cancel()
		_ = g.conn.Close()
		pumps.Wait()
		g.net.Destroy()
	})
}

func (g *testGuest) address(addr string) (tcpip.FullAddress, tcpip.NetworkProtocolNumber) {
	g.t.Helper()
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		g.t.Fatal(err)
	}
	protocol := ipv4.ProtocolNumber
	if a.Addr().Is6() {
		protocol = ipv6.ProtocolNumber
	}
	return tcpip.FullAddress{NIC: nic, Addr: toStack(a.Addr()), Port: a.Port()}, protocol
}

func (g *testGuest) dialTCP(addr string) (*gonet.TCPConn, error) {
	g.t.Helper()
	remote, protocol := g.address(addr)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return gonet.DialContextTCP(ctx, g.net, remote, protocol)
}

func (g *testGuest) mustDialTCP(addr string) *gonet.TCPConn {
	g.t.Helper()
	conn, err := g.dialTCP(addr)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (g *testGuest) dialUDP(addr string) *gonet.UDPConn {
	g.t.Helper()
	remote, protocol := g.address(addr)
	conn, err := gonet.DialUDP(g.net, nil, &remote, protocol)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// onGateway is where the guest reaches a listener on the host's loopback in mode full.
func onGateway(t testing.TB, addr net.Addr) string {
	t.Helper()
	a, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		t.Fatal(err)
	}
	if a.Addr().Is6() {
		return netip.AddrPortFrom(gateway6, a.Port()).String()
	}
	return netip.AddrPortFrom(gateway4, a.Port()).String()
}

// listenTCP serves each connection to the host's loopback with handle.
func listenTCP(t testing.TB, address string, handle func(*net.TCPConn)) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer func() { _ = conn.Close() }()
				handle(conn.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return l.Addr()
}

func echo(conn *net.TCPConn) {
	_, _ = io.Copy(conn, conn)
	_ = conn.CloseWrite()
}

// eventually waits for something that happens on its own.
func eventually(t testing.TB, what string, happened func() bool) {
	t.Helper()
	deadline := time.NewTimer(5 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !happened() {
		select {
		case <-deadline.C:
			t.Fatalf("%s did not come", what)
		case <-tick.C:
		}
	}
}
