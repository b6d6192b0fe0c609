package network

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// hostOwns tells whether packets to addr would end up at this host now, or be broadcast by it. It asks the kernel's routing table
// (rtnetlink(7)), which also knows addresses that no list of interfaces has.
func hostOwns(addr netip.Addr) (bool, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return false, os.NewSyscallError("netlink socket", err)
	}
	defer func() { _ = unix.Close(fd) }() // nothing was written that could be lost
	if err := unix.Sendto(fd, routeRequest(addr), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return false, os.NewSyscallError("netlink send", err)
	}
	reply := make([]byte, os.Getpagesize())
	n, _, err := unix.Recvfrom(fd, reply, 0)
	if err != nil {
		return false, os.NewSyscallError("netlink receive", err)
	}
	return routeIsLocal(reply[:n])
}

// routeRequest is RTM_GETROUTE: an nlmsghdr, an rtmsg and the destination as an attribute.
func routeRequest(addr netip.Addr) []byte {
	raw := addr.AsSlice()
	size := unix.SizeofNlMsghdr + unix.SizeofRtMsg + unix.SizeofRtAttr + len(raw)
	m := make([]byte, size)
	binary.NativeEndian.PutUint32(m[0:], uint32(size))
	binary.NativeEndian.PutUint16(m[4:], unix.RTM_GETROUTE)
	binary.NativeEndian.PutUint16(m[6:], unix.NLM_F_REQUEST)
	rtmsg := m[unix.SizeofNlMsghdr:]
	rtmsg[0] = unix.AF_INET6
	if addr.Is4() {
		rtmsg[0] = unix.AF_INET
	}
	rtmsg[1] = byte(addr.BitLen())
	attr := rtmsg[unix.SizeofRtMsg:]
	binary.NativeEndian.PutUint16(attr[0:], uint16(unix.SizeofRtAttr+len(raw)))
	binary.NativeEndian.PutUint16(attr[2:], unix.RTA_DST)
	copy(attr[unix.SizeofRtAttr:], raw)
	return m
}

func routeIsLocal(reply []byte) (bool, error) {
	const typeOffset = unix.SizeofNlMsghdr + 7 // of rtm_type
	if len(reply) < unix.SizeofNlMsghdr+4 {
		return false, errors.New("netlink reply is cut off")
	}
	switch kind := binary.NativeEndian.Uint16(reply[4:]); kind {
	case unix.NLMSG_ERROR: // no route, and so not the host's; the attempt to connect will say so
		return false, nil
	case unix.RTM_NEWROUTE:
		return len(reply) <= typeOffset || reply[typeOffset] != unix.RTN_UNICAST, nil
	default:
		return false, fmt.Errorf("netlink reply of type %d", kind)
	}
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}
