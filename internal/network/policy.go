package network

import (
	"fmt"
	"net/netip"

	"github.com/banger-dev/banger/internal/errdefs"
)

// Protocol is the kind of traffic that a policy judges.
type Protocol uint8

// The protocols that leave the stack. Nothing else does.
const (
	TCP Protocol = iota
	UDP
	Ping // ICMP and ICMPv6 echo requests; their port is 0
)

// Action is what becomes of a flow.
type Action uint8

// The actions. The zero value denies.
const (
	Deny  Action = iota
	Dial         // open it from a socket of the host, to Verdict.Addr
	Local        // the stack answers by itself
)

// Verdict is a policy's decision about one flow.
type Verdict struct {
	Action Action
	Addr   netip.AddrPort // what to dial
	// Public asks the caller to refuse Addr all the same if it belongs to this host: a public address of the host
	// leads to its services past any firewall, just as loopback does. A pure function cannot know those addresses.
	Public bool
	Reason string // why not, a few words
}

// Policy decides what the guest may reach. The zero value allows nothing.
type Policy struct {
	mode mode
}

type mode uint8

const (
	modeNone mode = iota
	modePublic
	modeFull
)

// ParsePolicy returns the policy of that name: "public" (addresses of the public Internet), "full" (whatever the host
// reaches; the gateway's address is the host's loopback) or "none". Another name is errdefs.ErrInvalid.
func ParsePolicy(name string) (Policy, error) {
	switch name {
	case "public":
		return Policy{mode: modePublic}, nil
	case "full":
		return Policy{mode: modeFull}, nil
	case "none":
		return Policy{mode: modeNone}, nil
	default:
		return Policy{}, errdefs.WithHint(
			errdefs.New(errdefs.ErrInvalid, "network mode %q: unknown", name), "use public, full or none")
	}
}

// String returns the policy's name.
func (p Policy) String() string {
	switch p.mode {
	case modeNone:
		return "none"
	case modePublic:
		return "public"
	case modeFull:
		return "full"
	default:
		return fmt.Sprintf("mode(%d)", p.mode)
	}
}

// Decide judges a flow from the guest to dst. Every flow that leaves the stack has passed it, once.
func (p Policy) Decide(protocol Protocol, dst netip.AddrPort) Verdict {
	if p.mode == modeNone {
		return deny("the VM has no network")
	}
	if v, ok := decideLink(protocol, dst); ok {
		return p.gateway(protocol, dst, v)
	}
	if reason := unroutable(dst.Addr()); reason != "" {
		return deny(reason)
	}
	if p.mode == modeFull {
		return Verdict{Action: Dial, Addr: dst}
	}
	if reason := notPublic(dst.Addr()); reason != "" {
		return deny(reason)
	}
	return Verdict{Action: Dial, Addr: dst, Public: true}
}

func deny(reason string) Verdict { return Verdict{Action: Deny, Reason: reason} }

// decideLink judges what stays on the link, and tells whether dst does.
func decideLink(protocol Protocol, dst netip.AddrPort) (Verdict, bool) {
	addr := dst.Addr()
	own := addr == gateway4 || addr == gateway6 || addr == dns4 || addr == dns6
	switch {
	case own && protocol == Ping,
		(addr == dns4 || addr == dns6) && dst.Port() == portDNS,
		(addr == gateway4 || addr == broadcast4) && protocol == UDP && dst.Port() == portDHCP:
		return Verdict{Action: Local}, true
	case own:
		return deny("nothing listens there"), true
	case subnet4.Contains(addr), subnet6.Contains(addr):
		return deny("no such host on the link"), true
	default:
		return Verdict{}, false
	}
}

// gateway lets mode full reach the host's loopback by the gateway's address.
func (p Policy) gateway(protocol Protocol, dst netip.AddrPort, v Verdict) Verdict {
	if p.mode != modeFull || v.Action != Deny || protocol == Ping {
		return v
	}
	switch dst.Addr() {
	case gateway4:
		return Verdict{Action: Dial, Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), dst.Port())}
	case gateway6:
		return Verdict{Action: Dial, Addr: netip.AddrPortFrom(netip.IPv6Loopback(), dst.Port())}
	default:
		return v
	}
}
