package network

import (
	"errors"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// pingForwarder sends the guest's echo requests from the host's unprivileged ping sockets (icmp(7)). Where
// net.ipv4.ping_group_range does not let the user have any, the guest is told that the destination is prohibited.
type pingForwarder struct {
	out   *outbound
	flows *flowTable
}

func newPingForwarder(out *outbound) *pingForwarder {
	return &pingForwarder{out: out, flows: newFlowTable()}
}

func (f *pingForwarder) close() { f.flows.close() }

// handle4 takes ICMP messages before the stack answers them; false lets it.
func (f *pingForwarder) handle4(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	h := header.ICMPv4(pkt.TransportHeader().Slice())
	if len(h) < header.ICMPv4MinimumSize || h.Type() != header.ICMPv4Echo {
		return false
	}
	return f.handle(id, h.Ident(), pkt)
}

// handle6 is handle4 for ICMPv6.
func (f *pingForwarder) handle6(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	h := header.ICMPv6(pkt.TransportHeader().Slice())
	if len(h) < header.ICMPv6EchoMinimumSize || h.Type() != header.ICMPv6EchoRequest {
		return false
	}
	return f.handle(id, h.Ident(), pkt)
}

func (f *pingForwarder) handle(id stack.TransportEndpointID, ident uint16, pkt *stack.PacketBuffer) bool {
	key := flowKey{
		guest:  netip.AddrPortFrom(fromStack(id.RemoteAddress), ident),
		remote: netip.AddrPortFrom(fromStack(id.LocalAddress), 0),
	}
	fl, known := f.flows.get(key)
	if !known {
		verdict := f.out.decide(Ping, key.remote)
		if verdict.Action == Local {
			return false
		}
		if fl = f.open(key, verdict, quote(pkt)); fl == nil {
			return true
		}
	}
	f.send(fl, pkt)
	return true
}

// open returns nil after it has told the guest that there is no way.
func (f *pingForwarder) open(key flowKey, verdict Verdict, quoted []byte) *flow {
	why := failureProhibited
	if verdict.Action == Dial {
		conn, err := dialPing(verdict.Addr.Addr())
		if err == nil {
			return f.start(&flow{key: key, conn: conn, quote: quoted})
		}
		f.out.log.Debug("no ping socket", "destination", key.remote.Addr(), "error", err)
		why = failureOf(err)
	}
	f.out.unreachable(quoted, key.guest.Addr(), key.remote.Addr(), why)
	return nil
}

func (f *pingForwarder) start(fl *flow) *flow {
	if !f.flows.add(fl) {
		_ = fl.conn.Close() // nothing was sent
		return nil
	}
	f.out.running.Go(func() {
		defer f.flows.remove(fl)
		fl.receive(
			func(p []byte) { f.reply(fl.key, p) },
			func(err error) {
				f.out.unreachable(fl.quote, fl.key.guest.Addr(), fl.key.remote.Addr(), failureOf(err))
			},
		)
	})
	return fl
}

// send sends the request; the kernel replaces its identifier and its checksum.
func (f *pingForwarder) send(fl *flow, pkt *stack.PacketBuffer) {
	fl.touch()
	message := append([]byte(nil), pkt.TransportHeader().Slice()...)
	message = append(message, pkt.Data().AsRange().ToSlice()...)
	if err := sendDatagram(fl.conn, message); err != nil && !errors.Is(err, net.ErrClosed) {
		f.out.unreachable(fl.quote, fl.key.guest.Addr(), fl.key.remote.Addr(), failureOf(err))
	}
}

// reply gives an answer to the guest, with the identifier that it knows.
func (f *pingForwarder) reply(key flowKey, message []byte) {
	if len(message) < header.ICMPv4MinimumSize {
		return
	}
	if key.guest.Addr().Is4() {
		h := header.ICMPv4(message)
		h.SetIdent(key.guest.Port())
		h.SetChecksum(0)
		h.SetChecksum(^checksum.Checksum(h, 0))
		f.out.send(ipv4.ProtocolNumber, header.ICMPv4ProtocolNumber, key.remote.Addr(), key.guest.Addr(), h)
		return
	}
	h := header.ICMPv6(message)
	h.SetIdent(key.guest.Port())
	h.SetChecksum(0)
	h.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{
		Header: h, Src: toStack(key.remote.Addr()), Dst: toStack(key.guest.Addr()),
	}))
	f.out.send(ipv6.ProtocolNumber, header.ICMPv6ProtocolNumber, key.remote.Addr(), key.guest.Addr(), h)
}

// dialPing opens a ping socket to addr. The net package hands it back as a UDPConn: it is a datagram socket.
func dialPing(addr netip.Addr) (*net.UDPConn, error) {
	domain, protocol := unix.AF_INET6, unix.IPPROTO_ICMPV6
	if addr.Is4() {
		domain, protocol = unix.AF_INET, unix.IPPROTO_ICMP
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), "ping")
	defer func() { _ = file.Close() }() // the connection has a descriptor of its own
	if err := unix.Connect(fd, sockaddr(netip.AddrPortFrom(addr, 0))); err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	conn, err := net.FilePacketConn(file)
	if err != nil {
		return nil, err
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		_ = conn.Close() // it is of no use
		return nil, errors.ErrUnsupported
	}
	return udp, nil
}
