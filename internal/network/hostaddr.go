package network

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// discardPort is never sent to; connecting a datagram socket only looks up the route.
const discardPort = 9

// hostOwns tells whether addr is one of this host's addresses now. The kernel gives a packet to one of its own
// addresses that address as its source too, so a route lookup answers, without a list that could be out of date.
// What has no route is not the host's.
func hostOwns(addr netip.Addr) bool {
	domain := unix.AF_INET6
	if addr.Is4() {
		domain = unix.AF_INET
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written
	if err := unix.Connect(fd, sockaddr(netip.AddrPortFrom(addr, discardPort))); err != nil {
		return false
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	switch l := local.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(l.Addr) == addr
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(l.Addr) == addr
	default:
		return false
	}
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}
