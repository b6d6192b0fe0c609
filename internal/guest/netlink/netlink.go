// Package netlink configures network interfaces over rtnetlink (rtnetlink(7)): the few requests that the agent needs, so
// that images need no tools and the agent no large library.
package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Conn is an rtnetlink socket. It is not for concurrent use.
type Conn struct {
	fd  int
	seq uint32
}

// Dial opens a socket.
func Dial() (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open rtnetlink: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind rtnetlink: %w", err)
	}
	return &Conn{fd: fd}, nil
}

// Close closes the socket.
func (c *Conn) Close() error { return unix.Close(c.fd) }

// SetLinkUp brings the interface up, with that MTU in bytes unless it is 0.
func (c *Conn) SetLinkUp(index, mtu int) error {
	m := newMessage(unix.RTM_NEWLINK, 0)
	m.u8(unix.AF_UNSPEC, 0).u16(0).u32(uint32(index), unix.IFF_UP, unix.IFF_UP)
	if mtu != 0 {
		m.attr(unix.IFLA_MTU, binary.NativeEndian.AppendUint32(nil, uint32(mtu)))
	}
	return c.do(m)
}

// SetAddress gives the interface an address. An IPv6 one is usable at once, without duplicate address detection.
func (c *Conn) SetAddress(index int, p netip.Prefix) error {
	m := newMessage(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	addressBody(m, index, p)
	m.attr(unix.IFA_FLAGS, binary.NativeEndian.AppendUint32(nil, unix.IFA_F_PERMANENT|unix.IFA_F_NODAD))
	return c.do(m)
}

// DeleteAddress takes an address away.
func (c *Conn) DeleteAddress(index int, p netip.Prefix) error {
	m := newMessage(unix.RTM_DELADDR, 0)
	addressBody(m, index, p)
	return c.do(m)
}

func addressBody(m *message, index int, p netip.Prefix) {
	m.u8(family(p.Addr()), uint8(p.Bits()), 0, unix.RT_SCOPE_UNIVERSE).u32(uint32(index))
	m.attr(unix.IFA_LOCAL, p.Addr().AsSlice())
	m.attr(unix.IFA_ADDRESS, p.Addr().AsSlice())
}

// SetDefaultRoute sends what is for elsewhere to gateway, which is on the interface's link.
func (c *Conn) SetDefaultRoute(index int, gateway netip.Addr) error {
	m := newMessage(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	m.u8(family(gateway), 0, 0, 0, unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST)
	m.u32(unix.RTNH_F_ONLINK)
	m.attr(unix.RTA_GATEWAY, gateway.AsSlice())
	m.attr(unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, uint32(index)))
	return c.do(m)
}

func family(a netip.Addr) uint8 {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// do sends a request and waits for the kernel's verdict.
func (c *Conn) do(m *message) error {
	c.seq++
	if err := unix.Sendto(c.fd, m.finish(c.seq), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("send to rtnetlink: %w", err)
	}
	buf := make([]byte, 8<<10)
	for {
		n, _, err := unix.Recvfrom(c.fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("receive from rtnetlink: %w", err)
		}
		if done, err := verdict(buf[:n], c.seq); done {
			return err
		}
	}
}

// verdict looks for the acknowledgement of request seq among the messages in b.
func verdict(b []byte, seq uint32) (done bool, err error) {
	messages, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return true, fmt.Errorf("parse rtnetlink answer: %w", err)
	}
	for _, m := range messages {
		if m.Header.Seq != seq || m.Header.Type != unix.NLMSG_ERROR {
			continue
		}
		if len(m.Data) < 4 {
			return true, errors.New("parse rtnetlink answer: short acknowledgement")
		}
		if errno := -int32(binary.NativeEndian.Uint32(m.Data)); errno != 0 {
			return true, unix.Errno(errno)
		}
		return true, nil
	}
	return false, nil
}
