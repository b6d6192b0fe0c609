package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/banger-dev/banger/internal/network/dhcp"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// udpForwarder sends the guest's datagrams from sockets of the host, one for each pair of guest port and remote.
type udpForwarder struct {
	out     *outbound
	flows   *flowTable
	resolve func(query []byte) (answer []byte)
}

func newUDPForwarder(ctx context.Context, out *outbound) *udpForwarder {
	return &udpForwarder{
		out:     out,
		flows:   newFlowTable(),
		resolve: func(query []byte) []byte { return out.resolver.Answer(ctx, query) },
	}
}

func (f *udpForwarder) close() { f.flows.close() }

// handle takes the datagrams for which the stack has no socket. It runs on the link's reading goroutine.
func (f *udpForwarder) handle(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	payload, ok := datagram(pkt)
	if !ok {
		return true // lengths that do not agree: nothing to answer
	}
	key := flowKey{guest: netip.AddrPortFrom(fromStack(id.RemoteAddress), id.RemotePort), remote: destination(id)}
	if known, ok := f.flows.get(key); ok {
		f.send(known, payload)
		return true
	}
	verdict := f.out.decide(UDP, key.remote)
	switch verdict.Action {
	case Local:
		f.serve(key, pkt, payload)
	case Dial:
		f.open(key, verdict, quote(pkt), payload)
	default:
		f.out.unreachable(quote(pkt), key.guest.Addr(), key.remote.Addr(), failureProhibited)
	}
	return true
}

// datagram is the payload of a UDP packet, valid as long as pkt.
func datagram(pkt *stack.PacketBuffer) ([]byte, bool) {
	size := int(header.UDP(pkt.TransportHeader().Slice()).Length()) - header.UDPMinimumSize
	if size < 0 || size > pkt.Data().Size() {
		return nil, false
	}
	return pkt.Data().PullUp(size)
}

func (f *udpForwarder) open(key flowKey, verdict Verdict, quoted, payload []byte) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(verdict.Addr))
	if err != nil {
		f.out.unreachable(quoted, key.guest.Addr(), key.remote.Addr(), failureOf(err))
		return
	}
	fl := &flow{key: key, conn: conn, quote: quoted}
	if !f.flows.add(fl) {
		_ = conn.Close() // nothing was sent
		return
	}
	f.out.running.Go(func() {
		defer f.flows.remove(fl)
		fl.receive(
			func(p []byte) { f.out.sendUDP(key.remote, key.guest, p) },
			func(err error) { f.failed(fl, err) },
		)
	})
	f.send(fl, payload)
}

func (f *udpForwarder) send(fl *flow, payload []byte) {
	fl.touch()
	if err := sendDatagram(fl.conn, payload); err != nil && !errors.Is(err, net.ErrClosed) {
		f.failed(fl, err)
	}
}

// failed passes on what the network said about a packet of the flow.
func (f *udpForwarder) failed(fl *flow, err error) {
	f.out.unreachable(fl.quote, fl.key.guest.Addr(), fl.key.remote.Addr(), failureOf(err))
}

// serve answers what is meant for the stack itself.
func (f *udpForwarder) serve(key flowKey, pkt *stack.PacketBuffer, payload []byte) {
	if key.remote.Port() == portDHCP {
		f.serveDHCP(pkt, payload)
		return
	}
	query := append([]byte(nil), payload...)
	f.out.running.Go(func() {
		if answer := f.resolve(query); answer != nil {
			f.out.sendUDP(key.remote, key.guest, answer)
		}
	})
}

// serveDHCP answers by hardware address: the guest has no other yet.
func (f *udpForwarder) serveDHCP(pkt *stack.PacketBuffer, request []byte) {
	reply, err := dhcp.Reply(request, lease())
	if err != nil {
		f.out.log.Debug("DHCP request ignored", "error", err)
		return
	}
	guest := header.Ethernet(pkt.LinkHeader().Slice()).SourceAddress()
	packet := udpPacket4(
		netip.AddrPortFrom(gateway4, portDHCP), netip.AddrPortFrom(broadcast4, portDHCP+1), reply)
	if err := f.out.net.WritePacketToRemote(nic, guest, ipv4.ProtocolNumber, buffer.MakeWithData(packet)); err != nil {
		f.out.log.Debug("DHCP reply lost", "error", fmt.Sprint(err))
	}
}

func lease() dhcp.Lease {
	return dhcp.Lease{
		Address: netip.PrefixFrom(guest4, subnet4.Bits()), Server: gateway4, Router: gateway4, DNS: dns4, MTU: MTU,
	}
}

// sendUDP sends a datagram to the guest as if from src.
func (o *outbound) sendUDP(src, guest netip.AddrPort, payload []byte) {
	network := ipv6.ProtocolNumber
	if guest.Addr().Is4() {
		network = ipv4.ProtocolNumber
	}
	o.send(network, header.UDPProtocolNumber, src.Addr(), guest.Addr(), udpMessage(src, guest, payload))
}

// udpPacket4 is a whole IPv4 packet, for a guest that has no address to route to.
func udpPacket4(src, dst netip.AddrPort, payload []byte) []byte {
	message := udpMessage(src, dst, payload)
	ip := header.IPv4(make([]byte, header.IPv4MinimumSize, header.IPv4MinimumSize+len(message)))
	ip.Encode(&header.IPv4Fields{
		TotalLength: uint16(header.IPv4MinimumSize + len(message)),
		TTL:         64,
		Protocol:    uint8(header.UDPProtocolNumber),
		SrcAddr:     toStack(src.Addr()),
		DstAddr:     toStack(dst.Addr()),
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	return append(ip, message...)
}
