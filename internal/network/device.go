package network

import (
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// What the stack asks of a device beside carrying packets.

// MTU is the largest IP packet, in bytes.
func (*link) MTU() uint32 { return MTU }

// SetMTU does nothing: the link's is fixed.
func (*link) SetMTU(uint32) {}

// MaxHeaderLength is the room that packets must keep for the Ethernet header.
func (*link) MaxHeaderLength() uint16 { return etherHeader }

// LinkAddress is the stack's hardware address.
func (*link) LinkAddress() tcpip.LinkAddress { return gatewayMAC }

// SetLinkAddress does nothing: the address is fixed.
func (*link) SetLinkAddress(tcpip.LinkAddress) {}

// Capabilities spares the checksums of received packets: they crossed no wire, only a socket of this machine.
func (*link) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityResolutionRequired | stack.CapabilityRXChecksumOffload
}

// Attach takes the stack's entry point for received packets; nil detaches.
func (l *link) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		l.dispatcher.Store(nil)
		return
	}
	l.dispatcher.Store(&d)
}

// IsAttached tells whether received packets have somewhere to go.
func (l *link) IsAttached() bool { return l.dispatcher.Load() != nil }

// Wait returns at once: the owner of the link waits for run.
func (*link) Wait() {}

// ARPHardwareType is Ethernet.
func (*link) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareEther }

// AddHeader puts an Ethernet header before an outgoing packet.
func (*link) AddHeader(pkt *stack.PacketBuffer) {
	header.Ethernet(pkt.LinkHeader().Push(etherHeader)).Encode(&header.EthernetFields{
		SrcAddr: pkt.EgressRoute.LocalLinkAddress,
		DstAddr: pkt.EgressRoute.RemoteLinkAddress,
		Type:    pkt.NetworkProtocolNumber,
	})
}

// ParseHeader takes the Ethernet header off a received frame.
func (*link) ParseHeader(pkt *stack.PacketBuffer) bool {
	_, ok := pkt.LinkHeader().Consume(etherHeader)
	return ok
}

// Close is the stack's notice that the device is gone. The owner of the link closes the stream.
func (*link) Close() {}

// SetOnCloseAction does nothing: no device of the host goes away with the link.
func (*link) SetOnCloseAction(func()) {}
