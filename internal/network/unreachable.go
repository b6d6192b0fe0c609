package network

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// failure is why a flow could not be opened, as far as the guest can be told.
type failure uint8

const (
	failureNone       failure = iota
	failureSilent             // say nothing: the guest's own patience runs out, as with a packet lost on the way
	failureRefused            // TCP: a reset; UDP: port unreachable
	failureProhibited         // the policy, or a firewall
	failureNetwork            // no route
	failureHost               // nobody there
)

// failureOf maps the error of a host's socket.
func failureOf(err error) failure {
	switch {
	case err == nil:
		return failureNone
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ECONNRESET):
		return failureRefused
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return failureProhibited
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EAFNOSUPPORT),
		errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.ENETDOWN):
		return failureNetwork
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.EHOSTDOWN):
		return failureHost
	default: // a timeout, or the host is short of something
		return failureSilent
	}
}

// quoteMax bounds how much of the packet an error message carries back: all headers, and 8 bytes of what follows.
const quoteMax = 60 + 60 + 8

// quote copies the start of a packet, for an error message that may be sent after the packet is gone.
func quote(pkt *stack.PacketBuffer) []byte {
	q := make([]byte, 0, quoteMax)
	q = append(q, pkt.NetworkHeader().Slice()...)
	q = append(q, pkt.TransportHeader().Slice()...)
	if data, ok := pkt.Data().PullUp(min(8, pkt.Data().Size())); ok {
		q = append(q, data...)
	}
	return q[:min(len(q), quoteMax)]
}

// unreachable tells the guest, whose packet is quoted, that it did not get there.
func (o *outbound) unreachable(quoted []byte, guest, dst netip.Addr, why failure) {
	if why == failureNone || why == failureSilent || dst.IsMulticast() || dst == broadcast4 {
		return // RFC 1122, section 3.2.2: no errors about multicast and broadcast
	}
	if guest.Is4() {
		o.unreachable4(quoted, guest, why)
		return
	}
	o.unreachable6(quoted, guest, why)
}

func (o *outbound) unreachable4(quoted []byte, guest netip.Addr, why failure) {
	code := map[failure]header.ICMPv4Code{
		failureRefused:    header.ICMPv4PortUnreachable,
		failureProhibited: header.ICMPv4AdminProhibited,
		failureNetwork:    header.ICMPv4NetUnreachable,
		failureHost:       header.ICMPv4HostUnreachable,
	}[why]
	message := header.ICMPv4(append(make([]byte, header.ICMPv4MinimumSize), quoted...))
	message.SetType(header.ICMPv4DstUnreachable)
	message.SetCode(code)
	message.SetChecksum(header.ICMPv4Checksum(message, 0))
	o.send(ipv4.ProtocolNumber, header.ICMPv4ProtocolNumber, gateway4, guest, message)
}

func (o *outbound) unreachable6(quoted []byte, guest netip.Addr, why failure) {
	code := map[failure]header.ICMPv6Code{
		failureRefused:    header.ICMPv6PortUnreachable,
		failureProhibited: header.ICMPv6Prohibited,
		failureNetwork:    header.ICMPv6NetworkUnreachable,
		failureHost:       header.ICMPv6AddressUnreachable,
	}[why]
	message := header.ICMPv6(append(make([]byte, header.ICMPv6DstUnreachableMinimumSize), quoted...))
	message.SetType(header.ICMPv6DstUnreachable)
	message.SetCode(code)
	message.SetChecksum(header.ICMPv6Checksum(header.ICMPv6ChecksumParams{
		Header: message, Src: toStack(gateway6), Dst: toStack(guest),
	}))
	o.send(ipv6.ProtocolNumber, header.ICMPv6ProtocolNumber, gateway6, guest, message)
}

// send sends one packet to the guest as if from src. What cannot be sent is lost, as on any network.
func (o *outbound) send(
	network tcpip.NetworkProtocolNumber, transport tcpip.TransportProtocolNumber, src, guest netip.Addr, message []byte,
) {
	route, err := o.net.FindRoute(nic, toStack(src), toStack(guest), network, false)
	if err != nil {
		o.log.Debug("no route to guest", "guest", guest, "error", err)
		return
	}
	defer route.Release()
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: int(route.MaxHeaderLength()),
		Payload:            buffer.MakeWithData(message),
	})
	defer pkt.DecRef()
	params := stack.NetworkHeaderParams{Protocol: transport, TTL: route.DefaultTTL()}
	if err := route.WritePacket(params, pkt); err != nil {
		o.log.Debug("packet to guest lost", "guest", guest, "error", err)
	}
}

// udpMessage is a UDP datagram with its header and checksum.
func udpMessage(src, dst netip.AddrPort, payload []byte) []byte {
	message := make([]byte, header.UDPMinimumSize+len(payload))
	copy(message[header.UDPMinimumSize:], payload)
	h := header.UDP(message)
	h.Encode(&header.UDPFields{SrcPort: src.Port(), DstPort: dst.Port(), Length: uint16(len(message))})
	sum := header.PseudoHeaderChecksum(
		header.UDPProtocolNumber, toStack(src.Addr()), toStack(dst.Addr()), uint16(len(message)))
	sum = ^checksum.Checksum(message, sum)
	if sum == 0 {
		sum = 0xffff // RFC 768: zero means no checksum
	}
	h.SetChecksum(sum)
	return message
}
