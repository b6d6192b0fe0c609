package network

import (
	"net/netip"

	"github.com/banger-dev/banger/internal/guest/proto"
	"gvisor.dev/gvisor/pkg/tcpip"
)

// The link. Both ends know it; there is no discovery on it beyond ARP, NDP and, for guests that insist, DHCP.
const (
	// MTU is the largest IP packet on the link, in bytes. It is the largest multiple of 8 that fits a 64 KiB buffer
	// together with its Ethernet header: most of the cost of a user-mode network is per packet, not per byte.
	MTU = 65520

	etherHeader = 14
	maxFrame    = MTU + etherHeader
)

// The addresses on the link.
var (
	subnet4  = netip.MustParsePrefix("10.0.2.0/24")
	guest4   = netip.MustParseAddr("10.0.2.15")
	gateway4 = netip.MustParseAddr("10.0.2.2")
	dns4     = netip.MustParseAddr("10.0.2.3")

	subnet6  = netip.MustParsePrefix("fd62:616e:6765::/64")
	guest6   = netip.MustParseAddr("fd62:616e:6765::15")
	gateway6 = netip.MustParseAddr("fd62:616e:6765::2")
	dns6     = netip.MustParseAddr("fd62:616e:6765::3")

	broadcast4 = netip.MustParseAddr("255.255.255.255")
)

// gatewayMAC is the stack's own hardware address, a locally administered one.
const gatewayMAC = tcpip.LinkAddress("\x02bang\x02")

// Guest returns the configuration of the guest's end of the link.
func Guest() proto.Network {
	return proto.Network{
		Addresses: []string{
			netip.PrefixFrom(guest4, subnet4.Bits()).String(),
			netip.PrefixFrom(guest6, subnet6.Bits()).String(),
		},
		Gateways:    []string{gateway4.String(), gateway6.String()},
		Nameservers: []string{dns4.String(), dns6.String()},
		MTU:         MTU,
	}
}

func toStack(a netip.Addr) tcpip.Address { return tcpip.AddrFromSlice(a.AsSlice()) }

// fromStack keeps the family as it was on the wire: an IPv4-mapped IPv6 address stays one, for the policy to see.
func fromStack(a tcpip.Address) netip.Addr {
	addr, _ := netip.AddrFromSlice(a.AsSlice())
	return addr
}
