package network

import (
	"context"
	"fmt"
	"net"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"

	"github.com/banger-dev/banger/internal/errdefs"
)

// DialGuest connects to a port of the guest, from the gateway's address. network is "tcp", "tcp4", "tcp6", "udp",
// "udp4" or "udp6"; without a digit it is IPv4, which every guest has. A TCP connection has CloseWrite.
// The connection ends with the stack. Nothing listening there is errdefs.ErrUnavailable.
func (s *Stack) DialGuest(ctx context.Context, network string, port uint16) (net.Conn, error) {
	remote := tcpip.FullAddress{NIC: nic, Addr: toStack(guest4), Port: port}
	local := tcpip.FullAddress{NIC: nic, Addr: toStack(gateway4)}
	protocol := ipv4.ProtocolNumber
	if len(network) == 4 && network[3] == '6' {
		remote.Addr, local.Addr, protocol = toStack(guest6), toStack(gateway6), ipv6.ProtocolNumber
	}
	var conn net.Conn
	var err error
	switch network {
	case "tcp", "tcp4", "tcp6":
		conn, err = gonet.DialTCPWithBind(ctx, s.net, local, remote, protocol)
	case "udp", "udp4", "udp6":
		conn, err = gonet.DialUDP(s.net, &local, &remote, protocol)
	default:
		return nil, errdefs.New(errdefs.ErrInvalid, "dial guest: network %q: unknown", network)
	}
	if err != nil {
		return nil, errdefs.As(errdefs.ErrUnavailable, fmt.Errorf("dial guest port %d/%s: %w", port, network, err))
	}
	return conn, nil
}
