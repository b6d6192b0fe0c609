package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"

	"github.com/banger-dev/banger/internal/network/dns"
)

const nic tcpip.NICID = 1

// Config is what a stack needs beside its link.
type Config struct {
	Policy    Policy
	Resolvers func() []string // host:port of the name servers to ask, best first; nil: those of /etc/resolv.conf
	Log       *slog.Logger    // nil: slog.Default
}

// Stack is one VM's network.
type Stack struct {
	net    *stack.Stack
	link   *link
	log    *slog.Logger
	cancel context.CancelFunc
	done   chan struct{}
	err    error // why the link failed; valid after done
}

// New starts the network of the VM whose frames conn carries, as vmm.Machine.Network does. It owns conn from now on.
// The network runs until conn ends or Close is called.
func New(conn net.Conn, c Config) (*Stack, error) {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Resolvers == nil {
		c.Resolvers = dns.NewResolvConf("/etc/resolv.conf").Servers
	}
	l := newLink(conn)
	netstack, err := newNetstack(l)
	if err != nil {
		_ = conn.Close() // the caller gets the reason why there is no network
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Stack{net: netstack, link: l, log: c.Log, cancel: cancel, done: make(chan struct{})}
	s.serve(ctx, c)
	return s, nil
}

// serve installs what answers the guest and starts the link.
func (s *Stack) serve(ctx context.Context, c Config) {
	resolver := dns.New(dns.Config{Resolvers: c.Resolvers, Log: c.Log})
	out := &outbound{net: s.net, policy: c.Policy, log: c.Log, resolver: resolver}
	tcpOut := newTCPForwarder(ctx, out)
	udpOut := newUDPForwarder(ctx, out)
	pingOut := newPingForwarder(out)
	s.net.SetTransportProtocolHandler(tcp.ProtocolNumber, tcpOut.handle)
	s.net.SetTransportProtocolHandler(udp.ProtocolNumber, udpOut.handle)
	s.net.SetTransportProtocolHandler(icmp.ProtocolNumber4, pingOut.handle4)
	s.net.SetTransportProtocolHandler(icmp.ProtocolNumber6, pingOut.handle6)

	go func() {
		err := s.link.run()
		// No packet comes in any more, so nothing new starts below while it is being ended.
		s.cancel()
		udpOut.close()
		pingOut.close()
		s.net.Close()
		out.running.Wait()
		s.net.Wait()
		s.finish(err)
	}()
}

func (s *Stack) finish(err error) {
	if !hungUp(err) {
		s.err = fmt.Errorf("guest network: %w", err)
		s.log.Error("guest network ended", "error", err)
	}
	close(s.done)
}

// hungUp tells whether a link ended because one of its ends went away. A VMM can be killed at any byte.
func hungUp(err error) bool {
	for _, end := range []error{
		io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, unix.ECONNRESET, unix.EPIPE,
	} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

// Close ends the network and everything that runs over it, and waits for that. It is idempotent.
// It returns what Err returns.
func (s *Stack) Close() error {
	s.cancel()
	_ = s.link.conn.Close() // ends the link's run, which ends the rest; a second close is no error to anyone
	<-s.done
	return s.err
}

// Done is closed when the network has ended, by Close or because its link did.
func (s *Stack) Done() <-chan struct{} { return s.done }

// Err says why the network ended by itself: the guest's end broke the framing, or the stream failed.
// It is nil before Done is closed, and when the link was closed by either end.
func (s *Stack) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

func newNetstack(l *link) (*stack.Stack, error) {
	s := stack.New(stack.Options{
		NetworkProtocols: []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{
			tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4, icmp.NewProtocol6,
		},
	})
	if err := configure(s, l); err != nil {
		s.Destroy()
		return nil, err
	}
	return s, nil
}

// configure makes the stack answer for every address: what the guest sends to the rest of the world is addressed to
// the world, not to the stack.
func configure(s *stack.Stack, l *link) error {
	if err := s.CreateNIC(nic, l); err != nil {
		return stackError("create device", err)
	}
	for _, a := range []netip.Prefix{
		netip.PrefixFrom(gateway4, subnet4.Bits()), netip.PrefixFrom(dns4, subnet4.Bits()),
		netip.PrefixFrom(gateway6, subnet6.Bits()), netip.PrefixFrom(dns6, subnet6.Bits()),
	} {
		if err := s.AddProtocolAddress(nic, protocolAddress(a), stack.AddressProperties{}); err != nil {
			return stackError("add address "+a.String(), err)
		}
	}
	if err := s.SetPromiscuousMode(nic, true); err != nil {
		return stackError("take all destinations", err)
	}
	if err := s.SetSpoofing(nic, true); err != nil {
		return stackError("answer from all sources", err)
	}
	s.SetRouteTable([]tcpip.Route{
		{Destination: header.IPv4EmptySubnet, NIC: nic},
		{Destination: header.IPv6EmptySubnet, NIC: nic},
	})
	return tuneTCP(s)
}

func protocolAddress(p netip.Prefix) tcpip.ProtocolAddress {
	protocol := ipv4.ProtocolNumber
	if p.Addr().Is6() {
		protocol = ipv6.ProtocolNumber
	}
	return tcpip.ProtocolAddress{
		Protocol:          protocol,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: toStack(p.Addr()), PrefixLen: p.Bits()},
	}
}

func stackError(what string, err tcpip.Error) error {
	return fmt.Errorf("guest network: %s: %s", what, err)
}

// outbound is what the forwarders share.
type outbound struct {
	net      *stack.Stack
	policy   Policy
	log      *slog.Logger
	resolver *dns.Server
	// running counts the goroutines that serve the guest. It only grows on the link's reading goroutine, so that no
	// Add races with the Wait that follows that goroutine's end.
	running sync.WaitGroup
}

// decide judges a flow, once, with what the pure policy leaves to the host's state.
func (o *outbound) decide(protocol Protocol, dst netip.AddrPort) Verdict {
	v := o.policy.Decide(protocol, dst)
	if v.Action == Dial && v.Public {
		if own, err := hostOwns(v.Addr.Addr()); err != nil {
			v = deny("cannot tell whether it is an address of this host: " + err.Error())
		} else if own {
			v = deny("an address of this host")
		}
	}
	if v.Action == Deny {
		o.log.Debug("flow denied", "protocol", protocol, "destination", dst, "reason", v.Reason)
	}
	return v
}
