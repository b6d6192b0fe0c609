// Package dhcp answers the DHCPv4 requests (RFC 2131) of a link's only client with its only lease. Guests that are set
// up by the agent never ask; those that run a DHCP client of their own get the same configuration from it.
package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Lease is what every client is given.
type Lease struct {
	Address netip.Prefix // IPv4
	Server  netip.Addr
	Router  netip.Addr
	DNS     netip.Addr
	MTU     uint16
}

// leaseTime is long because nothing ever changes, and finite because some clients mistrust infinity.
const leaseTime = 24 * time.Hour

// The fixed part of a message (RFC 2131, section 2).
const (
	opRequest  = 1
	opReply    = 2
	fixedSize  = 240 // up to and including the magic cookie
	cookie     = 0x63825363
	minMessage = 300 // BOOTP's; some clients still refuse less
	ethernet   = 1
)

// Message types (RFC 2132, section 9.6).
const (
	discover = 1
	offer    = 2
	request  = 3
	decline  = 4
	ack      = 5
	nak      = 6
	release  = 7
	inform   = 8
)

// Options (RFC 2132).
const (
	optPad       = 0
	optMask      = 1
	optRouter    = 3
	optDNS       = 6
	optMTU       = 26
	optRequested = 50
	optLease     = 51
	optType      = 53
	optServer    = 54
	optEnd       = 255
)

// ErrIgnored is the class of requests that get no answer.
var ErrIgnored = errors.New("no answer")

// message is what of a client's message matters.
type message struct {
	fixed     []byte // the first 240 bytes
	kind      byte
	requested netip.Addr
	server    netip.Addr
}

// Reply returns the answer to one client message, both without UDP header. An error is ErrIgnored with the reason.
func Reply(raw []byte, l Lease) ([]byte, error) {
	m, err := parse(raw)
	if err != nil {
		return nil, err
	}
	switch m.kind {
	case discover:
		return answer(m, offer, l), nil
	case request:
		return replyRequest(m, l)
	case inform:
		return answer(m, ack, l), nil
	case release, decline:
		return nil, fmt.Errorf("%w: a lease given back", ErrIgnored)
	default:
		return nil, fmt.Errorf("%w: message type %d", ErrIgnored, m.kind)
	}
}

// replyRequest confirms the lease, or tells a client that comes with another network's address to start again.
func replyRequest(m message, l Lease) ([]byte, error) {
	if m.server.IsValid() && m.server != l.Server {
		return nil, fmt.Errorf("%w: request to server %s", ErrIgnored, m.server)
	}
	wanted := m.requested
	if current := netip.AddrFrom4([4]byte(m.fixed[12:16])); !current.IsUnspecified() {
		wanted = current
	}
	if wanted != l.Address.Addr() {
		return answer(m, nak, l), nil
	}
	return answer(m, ack, l), nil
}

func parse(raw []byte) (message, error) {
	if len(raw) < fixedSize {
		return message{}, fmt.Errorf("%w: %d bytes", ErrIgnored, len(raw))
	}
	if raw[0] != opRequest || raw[1] != ethernet || raw[2] != 6 {
		return message{}, fmt.Errorf("%w: not a request over Ethernet", ErrIgnored)
	}
	if binary.BigEndian.Uint32(raw[236:]) != cookie {
		return message{}, fmt.Errorf("%w: no DHCP cookie", ErrIgnored)
	}
	m := message{fixed: raw[:fixedSize]}
	options := raw[fixedSize:]
	for len(options) > 0 && options[0] != optEnd {
		if options[0] == optPad {
			options = options[1:]
			continue
		}
		if len(options) < 2 || len(options) < 2+int(options[1]) {
			return message{}, fmt.Errorf("%w: option %d is cut off", ErrIgnored, options[0])
		}
		m.take(options[0], options[2:2+int(options[1])])
		options = options[2+int(options[1]):]
	}
	return m, nil
}

func (m *message) take(option byte, value []byte) {
	switch {
	case option == optType && len(value) == 1:
		m.kind = value[0]
	case option == optRequested && len(value) == 4:
		m.requested = netip.AddrFrom4([4]byte(value))
	case option == optServer && len(value) == 4:
		m.server = netip.AddrFrom4([4]byte(value))
	}
}

// answer builds a reply (RFC 2131, table 3).
func answer(m message, kind byte, l Lease) []byte {
	out := make([]byte, fixedSize, minMessage)
	out[0], out[1], out[2] = opReply, ethernet, 6
	copy(out[4:8], m.fixed[4:8])     // transaction
	copy(out[10:12], m.fixed[10:12]) // flags
	copy(out[28:44], m.fixed[28:44]) // hardware address
	binary.BigEndian.PutUint32(out[236:], cookie)
	out = append(out, optType, 1, kind)
	out = appendAddr(out, optServer, l.Server)
	if kind != nak {
		out = appendLease(out, m, l)
	}
	out = append(out, optEnd)
	for len(out) < minMessage {
		out = append(out, optPad)
	}
	return out
}

func appendLease(out []byte, m message, l Lease) []byte {
	if m.kind == inform { // the client has an address and wants only the rest
		copy(out[12:16], m.fixed[12:16])
	} else {
		copy(out[16:20], l.Address.Addr().AsSlice())
		out = append(out, optLease, 4)
		out = binary.BigEndian.AppendUint32(out, uint32(leaseTime/time.Second))
	}
	out = append(out, optMask, 4)
	out = binary.BigEndian.AppendUint32(out, ^uint32(0)<<(32-l.Address.Bits()))
	out = appendAddr(out, optRouter, l.Router)
	out = appendAddr(out, optDNS, l.DNS)
	out = append(out, optMTU, 2)
	return binary.BigEndian.AppendUint16(out, l.MTU)
}

func appendAddr(out []byte, option byte, addr netip.Addr) []byte {
	return append(append(out, option, 4), addr.AsSlice()...)
}
