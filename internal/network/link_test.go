package network

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// frame is an Ethernet frame as it is on the stream.
func frame(protocol uint16, packet []byte) []byte {
	f := []byte(gatewayMAC + guestMAC)
	f = binary.BigEndian.AppendUint16(f, protocol)
	return prefixed(append(f, packet...))
}

func prefixed(f []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(f))), f...)
}

func TestLinkEnds(t *testing.T) {
	for _, tc := range []struct {
		name string
		sent []byte
		want string // in the error; empty: an orderly end
	}{
		{"at once", nil, ""},
		{"between frames", frame(0x88b5, make([]byte, 50)), ""},
		{"in a length", []byte{0, 0}, ""},
		{"in a frame", frame(0x88b5, make([]byte, 50))[:30], ""},
		{"after a length", []byte{0, 0, 0, 60}, ""},
		{"length zero", []byte{0, 0, 0, 0}, "length 0 is not between"},
		{"length below a header", []byte{0, 0, 0, 13}, "length 13 is not between"},
		{"length above the MTU", []byte{0, 0, 0xff, 0xff}, "length 65535 is not between"},
		{"absurd length", []byte{0xff, 0xff, 0xff, 0xff}, "length 4294967295 is not between"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host, guest := socketPair(t)
			s, err := New(host, Config{Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Err(); err != nil {
				t.Errorf("error before the end: %v", err)
			}
			if _, err := guest.Write(tc.sent); err != nil {
				t.Fatal(err)
			}
			_ = guest.Close()
			select {
			case <-s.Done():
			case <-time.After(5 * time.Second):
				t.Fatal("the network goes on")
			}
			err = s.Close()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
			if strings.HasPrefix(tc.name, "length") && !errors.Is(err, errFrame) {
				t.Errorf("%v is not errFrame", err)
			}
		})
	}
}

func TestLargestFrame(t *testing.T) {
	want := bytes.Repeat([]byte{7}, maxFrame)
	got, err := newFrameReader(bytes.NewReader(prefixed(want))).next()
	if err != nil {
		t.Fatal(err)
	}
	defer got.Release()
	if !bytes.Equal(got.AsSlice(), want) {
		t.Error("not what was sent")
	}
}

func TestAdmit(t *testing.T) {
	ip4 := func(source string) []byte {
		p := make([]byte, 20)
		copy(p[12:], net.ParseIP(source).To4())
		return p
	}
	ip6 := func(source string) []byte {
		p := make([]byte, 40)
		copy(p[8:], net.ParseIP(source).To16())
		return p
	}
	arp := func(op header.ARPOp, source, target string) []byte {
		p := header.ARP(make([]byte, 28))
		p.SetOp(op)
		copy(p.ProtocolAddressSender(), net.ParseIP(source).To4())
		copy(p.ProtocolAddressTarget(), net.ParseIP(target).To4())
		return p
	}
	solicit := func(source, target string) []byte {
		p := append(ip6(source), make([]byte, header.ICMPv6NeighborSolicitMinimumSize)...)
		p[6] = byte(header.ICMPv6ProtocolNumber)
		p[40] = byte(header.ICMPv6NeighborSolicit)
		copy(p[48:], net.ParseIP(target).To16())
		return p
	}
	for _, tc := range []struct {
		name     string
		protocol uint16
		packet   []byte
		want     bool
	}{
		{"guest by IPv4", 0x0800, ip4("10.0.2.15"), true},
		{"DHCP client", 0x0800, ip4("0.0.0.0"), true},
		{"the gateway itself", 0x0800, ip4("10.0.2.2"), false},
		{"the name server", 0x0800, ip4("10.0.2.3"), false},
		{"another on the link", 0x0800, ip4("10.0.2.16"), false},
		{"loopback", 0x0800, ip4("127.0.0.1"), false},
		{"somebody else", 0x0800, ip4("1.1.1.1"), false},
		{"short IPv4", 0x0800, ip4("10.0.2.15")[:19], false},
		{"asks for the gateway", 0x0806, arp(header.ARPRequest, "10.0.2.15", "10.0.2.2"), true},
		{"asks for the name server", 0x0806, arp(header.ARPRequest, "10.0.2.15", "10.0.2.3"), true},
		{"asks for nobody", 0x0806, arp(header.ARPRequest, "10.0.2.15", "10.0.2.99"), false},
		{"asks whether its address is free", 0x0806, arp(header.ARPRequest, "0.0.0.0", "10.0.2.15"), false},
		{"announces its address", 0x0806, arp(header.ARPRequest, "10.0.2.15", "10.0.2.15"), false},
		{"answers", 0x0806, arp(header.ARPReply, "10.0.2.15", "10.0.2.2"), true},
		{"answers as the gateway", 0x0806, arp(header.ARPReply, "10.0.2.2", "10.0.2.2"), false},
		{"short ARP", 0x0806, arp(header.ARPReply, "10.0.2.15", "10.0.2.2")[:27], false},
		{"guest by IPv6", 0x86dd, ip6("fd62:616e:6765::15"), true},
		{"guest by another address", 0x86dd, ip6("fd62:616e:6765::1234"), true},
		{"link-local", 0x86dd, ip6("fe80::1"), true},
		{"address detection", 0x86dd, ip6("::"), true},
		{"asks for the gateway by IPv6", 0x86dd, solicit("fd62:616e:6765::15", "fd62:616e:6765::2"), true},
		{"asks for the name server by IPv6", 0x86dd, solicit("fe80::1", "fd62:616e:6765::3"), true},
		{"asks for nobody by IPv6", 0x86dd, solicit("fe80::1", "fd62:616e:6765::99"), false},
		{"asks whether its IPv6 address is free", 0x86dd, solicit("::", "fd62:616e:6765::15"), false},
		{"asks whether its link-local address is free", 0x86dd, solicit("::", "fe80::1"), false},
		{"short solicitation", 0x86dd, solicit("::", "fe80::1")[:60], true}, // the stack refuses it
		{"the gateway by IPv6", 0x86dd, ip6("fd62:616e:6765::2"), false},
		{"the name server by IPv6", 0x86dd, ip6("fd62:616e:6765::3"), false},
		{"loopback by IPv6", 0x86dd, ip6("::1"), false},
		{"somebody else by IPv6", 0x86dd, ip6("2606:4700::1111"), false},
		{"short IPv6", 0x86dd, ip6("fd62:616e:6765::15")[:39], false},
		{"VLAN", 0x8100, make([]byte, 100), false},
		{"LLDP", 0x88cc, make([]byte, 100), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, got := admit(frame(tc.protocol, tc.packet)[4:]); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
	if _, ok := admit(make([]byte, etherHeader-1)); ok {
		t.Error("less than a header was admitted")
	}
}

// TestQueueIsBounded has a guest that never reads.
func TestQueueIsBounded(t *testing.T) {
	l := newLink(nil)
	sent := 0
	for {
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(make([]byte, MTU))})
		var list stack.PacketBufferList
		list.PushBack(pkt)
		n, err := l.WritePackets(list)
		list.Reset()
		if err != nil {
			break
		}
		sent += n * MTU
	}
	if sent > queueBytes || sent < queueBytes-MTU {
		t.Errorf("%d bytes queued, want %d", sent, queueBytes)
	}
	if l.dropped.Load() != 1 {
		t.Errorf("%d dropped", l.dropped.Load())
	}
	l.drain()
	if n := l.queued.Load(); n != 0 {
		t.Errorf("%d bytes queued after all are gone", n)
	}
}

func TestCloseDuringHandshake(t *testing.T) {
	addr := listenTCP(t, "127.0.0.1:0", echo)
	host, guest := socketPair(t)
	policy, err := ParsePolicy("full")
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(host, Config{Policy: policy, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(addr.(*net.TCPAddr).Port)
	if _, err := guest.Write(append(arpRequest(), frame(0x0800, syn(port))...)); err != nil {
		t.Fatal(err)
	}
	// The SYN and ACK comes, and no answer to it ever.
	frames := newFrameReader(guest)
	for {
		f, err := frames.next()
		if err != nil {
			t.Fatal(err)
		}
		answer := header.Ethernet(f.AsSlice()).Type() == header.IPv4ProtocolNumber
		f.Release()
		if answer {
			break
		}
	}
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("close does not return")
	}
	_ = guest.Close()
}

// arpRequest asks for the gateway, which makes the guest known to it.
func arpRequest() []byte {
	a := header.ARP(make([]byte, header.ARPSize))
	a.SetIPv4OverEthernet()
	a.SetOp(header.ARPRequest)
	copy(a.HardwareAddressSender(), guestMAC)
	copy(a.ProtocolAddressSender(), guest4.AsSlice())
	copy(a.HardwareAddressTarget(), gatewayMAC)
	copy(a.ProtocolAddressTarget(), gateway4.AsSlice())
	return frame(0x0806, a)
}

// syn is a packet that opens a connection to a port of the gateway.
func syn(port uint16) []byte {
	const size = header.IPv4MinimumSize + header.TCPMinimumSize
	ip := header.IPv4(make([]byte, size))
	ip.Encode(&header.IPv4Fields{
		TotalLength: size, TTL: 64, Protocol: uint8(header.TCPProtocolNumber),
		SrcAddr: toStack(guest4), DstAddr: toStack(gateway4),
	})
	ip.SetChecksum(^ip.CalculateChecksum())
	header.TCP(ip.Payload()).Encode(&header.TCPFields{
		SrcPort: 4000, DstPort: port, SeqNum: 1, DataOffset: header.TCPMinimumSize,
		Flags: header.TCPFlagSyn, WindowSize: 65535,
	})
	return ip
}

// script is a link whose guest sends fixed bytes and takes everything.
type script struct {
	net.Conn
	*bytes.Reader
}

func (s script) Read(p []byte) (int, error) { return s.Reader.Read(p) }
func (script) Write(p []byte) (int, error)  { return len(p), nil }
func (script) Close() error                 { return nil }

// FuzzLink feeds a stack whatever a guest might send. It must come to an end with the stream, orderly or by a clear
// error, and never panic. Its policy allows nothing, so that no packet leaves the machine.
func FuzzLink(f *testing.F) {
	f.Add(append(arpRequest(), frame(0x0800, syn(80))...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, sent []byte) {
		s, err := New(script{Reader: bytes.NewReader(sent)}, Config{
			Resolvers: func() []string { return nil }, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		<-s.Done()
		if err := s.Close(); err != nil && !errors.Is(err, errFrame) {
			t.Fatal(err)
		}
	})
}
