package network

import (
	"encoding/binary"
	"net/netip"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// admit tells whether a frame from the guest may enter the stack, and as which protocol. It looks at no more than the
// addresses; the stack checks the rest.
//
// The guest may only speak as itself: frames with the source address of somebody else would let it talk to the stack
// as if it were that host. And it may only ask for neighbours that exist: the stack, which takes packets to every
// address, would answer for every address too, and a guest that looks whether an address is free, as it must
// (RFC 5227; RFC 4862, section 5.4), would find its own taken.
func admit(frame []byte) (tcpip.NetworkProtocolNumber, bool) {
	if len(frame) < etherHeader {
		return 0, false
	}
	protocol := tcpip.NetworkProtocolNumber(binary.BigEndian.Uint16(frame[12:]))
	packet := frame[etherHeader:]
	switch protocol {
	case header.ARPProtocolNumber:
		return protocol, len(packet) >= header.ARPSize && admitSource4(packet[14:18]) && admitARP(packet)
	case header.IPv4ProtocolNumber:
		return protocol, len(packet) >= header.IPv4MinimumSize && admitSource4(packet[12:16])
	case header.IPv6ProtocolNumber:
		return protocol, len(packet) >= header.IPv6MinimumSize && admitSource6(packet[8:24]) && admitNeighbor(packet)
	default:
		return protocol, false
	}
}

// admitSource4 also takes 0.0.0.0: DHCP clients and ARP probes have no address yet.
func admitSource4(raw []byte) bool {
	source := netip.AddrFrom4([4]byte(raw))
	return source == guest4 || source.IsUnspecified()
}

// admitSource6 takes every address of the link but the stack's own: a guest may add to ::15 by itself.
func admitSource6(raw []byte) bool {
	source := netip.AddrFrom16([16]byte(raw))
	if source == gateway6 || source == dns6 {
		return false
	}
	return source.IsUnspecified() || source.IsLinkLocalUnicast() || subnet6.Contains(source)
}

// admitARP refuses requests for addresses that are not the stack's.
func admitARP(packet []byte) bool {
	arp := header.ARP(packet)
	target := netip.AddrFrom4([4]byte(arp.ProtocolAddressTarget()))
	return arp.Op() != header.ARPRequest || target == gateway4 || target == dns4
}

// admitNeighbor refuses neighbour solicitations for addresses that are not the stack's.
func admitNeighbor(packet []byte) bool {
	if len(packet) < header.IPv6MinimumSize+header.ICMPv6NeighborSolicitMinimumSize ||
		header.IPv6(packet).NextHeader() != uint8(header.ICMPv6ProtocolNumber) {
		return true
	}
	message := header.ICMPv6(packet[header.IPv6MinimumSize:])
	if message.Type() != header.ICMPv6NeighborSolicit {
		return true
	}
	target := fromStack(header.NDPNeighborSolicit(message.MessageBody()).TargetAddress())
	return target == gateway6 || target == dns6
}
