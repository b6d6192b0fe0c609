package network

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/banger-dev/banger/internal/errdefs"
)

// TestPolicyDecide lists what each mode does with a destination: D dials, L is answered by the stack, - is denied.
func TestPolicyDecide(t *testing.T) {
	for _, tc := range []struct {
		name     string
		protocol Protocol
		dst      string
		public   string
		full     string
	}{
		// The public Internet.
		{"public IPv4", TCP, "1.1.1.1:443", "D", "D"},
		{"public IPv4 by UDP", UDP, "9.9.9.9:123", "D", "D"},
		{"public IPv4 ping", Ping, "8.8.8.8:0", "D", "D"},
		{"public IPv6", TCP, "[2606:4700:4700::1111]:443", "D", "D"},
		{"public IPv6 ping", Ping, "[2620:fe::fe]:0", "D", "D"},
		{"foreign name server", UDP, "9.9.9.9:53", "D", "D"},
		{"just below 10/8", TCP, "9.255.255.255:80", "D", "D"},
		{"just above 10/8", TCP, "11.0.0.0:80", "D", "D"},
		{"just below CGNAT", TCP, "100.63.255.255:80", "D", "D"},
		{"just above CGNAT", TCP, "100.128.0.0:80", "D", "D"},
		{"just below 172.16/12", TCP, "172.15.255.255:80", "D", "D"},
		{"just above 172.16/12", TCP, "172.32.0.0:80", "D", "D"},
		{"just below link-local", TCP, "169.253.255.255:80", "D", "D"},
		{"just above link-local", TCP, "169.255.0.0:80", "D", "D"},
		{"just above benchmarking", TCP, "198.20.0.0:80", "D", "D"},
		{"last unicast", TCP, "223.255.255.255:80", "D", "D"},
		{"just above Teredo's block", TCP, "[2001:200::1]:80", "D", "D"},

		// Private and special IPv4.
		{"10/8", TCP, "10.1.2.3:80", "-", "D"},
		{"10/8 ping", Ping, "10.1.2.3:0", "-", "D"},
		{"172.16/12 first", TCP, "172.16.0.1:80", "-", "D"},
		{"172.16/12 last", TCP, "172.31.255.255:80", "-", "D"},
		{"192.168/16", UDP, "192.168.0.1:53", "-", "D"},
		{"CGNAT first", TCP, "100.64.0.0:80", "-", "D"},
		{"CGNAT metadata", TCP, "100.100.100.200:80", "-", "D"},
		{"CGNAT last", TCP, "100.127.255.255:80", "-", "D"},
		{"cloud metadata", TCP, "169.254.169.254:80", "-", "D"},
		{"link-local", TCP, "169.254.0.1:80", "-", "D"},
		{"IETF assignments", TCP, "192.0.0.8:80", "-", "D"},
		{"PCP anycast", UDP, "192.0.0.9:5351", "-", "D"},
		{"documentation 1", TCP, "192.0.2.1:80", "-", "D"},
		{"documentation 2", TCP, "198.51.100.1:80", "-", "D"},
		{"documentation 3", TCP, "203.0.113.255:80", "-", "D"},
		{"benchmarking", TCP, "198.19.255.255:80", "-", "D"},
		{"6to4 relay", TCP, "192.88.99.1:80", "-", "D"},

		// What never leaves.
		{"loopback", TCP, "127.0.0.1:22", "-", "-"},
		{"loopback, other", TCP, "127.127.127.127:22", "-", "-"},
		{"this network", TCP, "0.0.0.0:80", "-", "-"},
		{"this network, other", TCP, "0.1.2.3:80", "-", "-"},
		{"multicast", UDP, "224.0.0.251:5353", "-", "-"},
		{"multicast, last", UDP, "239.255.255.250:1900", "-", "-"},
		{"reserved", TCP, "240.0.0.1:80", "-", "-"},
		{"broadcast", UDP, "255.255.255.255:9", "-", "-"},
		{"IPv6 unspecified", TCP, "[::]:80", "-", "-"},
		{"IPv6 loopback", TCP, "[::1]:22", "-", "-"},
		{"IPv6 link-local", TCP, "[fe80::1]:22", "-", "-"},
		{"IPv6 link-local with zone", TCP, "[fe80::1%eth0]:22", "-", "-"},
		{"IPv6 multicast", UDP, "[ff02::fb]:5353", "-", "-"},
		{"IPv4-mapped loopback", TCP, "[::ffff:127.0.0.1]:22", "-", "-"},
		{"IPv4-mapped private", TCP, "[::ffff:192.168.1.1]:80", "-", "-"},
		{"IPv4-mapped public", TCP, "[::ffff:1.1.1.1]:443", "-", "-"},
		{"IPv4-compatible loopback", TCP, "[::127.0.0.1]:22", "-", "-"},
		{"IPv4-compatible public", TCP, "[::1.1.1.1]:80", "-", "-"},

		// Special IPv6.
		{"unique local", TCP, "[fd00::1]:80", "-", "D"},
		{"unique local, fc00", TCP, "[fc00::1]:80", "-", "D"},
		{"cloud metadata by IPv6", TCP, "[fd00:ec2::254]:80", "-", "D"},
		{"site-local", TCP, "[fec0::1]:80", "-", "D"},
		{"documentation by IPv6", TCP, "[2001:db8::1]:80", "-", "D"},
		{"documentation by IPv6, new", TCP, "[3fff:fff::1]:80", "-", "D"},
		{"discard", UDP, "[100::1]:9", "-", "D"},
		{"dummy prefix", UDP, "[100:0:0:1::1]:9", "-", "D"},
		{"segment routing", TCP, "[5f00::1]:80", "-", "D"},
		{"benchmarking by IPv6", TCP, "[2001:2::1]:80", "-", "D"},
		{"ORCHIDv2", TCP, "[2001:20::1]:80", "-", "D"},
		{"Teredo", TCP, "[2001:0:4136:e378:8000:63bf:3fff:fdd2]:80", "-", "D"},
		{"not given out", TCP, "[4000::1]:80", "-", "D"},
		{"not given out, high", TCP, "[e000::1]:80", "-", "D"},
		{"NAT64 of public", TCP, "[64:ff9b::1.1.1.1]:443", "D", "D"},
		{"NAT64 of private", TCP, "[64:ff9b::10.0.0.1]:80", "-", "D"},
		{"NAT64 of loopback", TCP, "[64:ff9b::127.0.0.1]:22", "-", "D"},
		{"NAT64 of metadata", TCP, "[64:ff9b::169.254.169.254]:80", "-", "D"},
		{"local NAT64", TCP, "[64:ff9b:1::1.1.1.1]:80", "-", "D"},
		{"6to4 of public", TCP, "[2002:101:101::1]:443", "D", "D"},
		{"6to4 of private", TCP, "[2002:c0a8:101::1]:80", "-", "D"},
		{"6to4 of loopback", TCP, "[2002:7f00:1::1]:22", "-", "D"},
		{"6to4 of multicast", TCP, "[2002:e000:1::1]:22", "-", "D"},

		// The link.
		{"name server", UDP, "10.0.2.3:53", "L", "L"},
		{"name server by TCP", TCP, "10.0.2.3:53", "L", "L"},
		{"name server by IPv6", UDP, "[fd62:616e:6765::3]:53", "L", "L"},
		{"name server by TCP and IPv6", TCP, "[fd62:616e:6765::3]:53", "L", "L"},
		{"name server, other port", TCP, "10.0.2.3:80", "-", "-"},
		{"name server, ping", Ping, "10.0.2.3:0", "L", "L"},
		{"gateway ping", Ping, "10.0.2.2:0", "L", "L"},
		{"gateway ping by IPv6", Ping, "[fd62:616e:6765::2]:0", "L", "L"},
		{"gateway TCP", TCP, "10.0.2.2:22", "-", "D"},
		{"gateway UDP", UDP, "10.0.2.2:123", "-", "D"},
		{"gateway DNS", UDP, "10.0.2.2:53", "-", "D"},
		{"gateway TCP by IPv6", TCP, "[fd62:616e:6765::2]:22", "-", "D"},
		{"DHCP by broadcast", UDP, "255.255.255.255:67", "L", "L"},
		{"DHCP renewal", UDP, "10.0.2.2:67", "L", "L"},
		{"DHCP port by TCP", TCP, "10.0.2.2:67", "-", "D"},
		{"another host on the link", TCP, "10.0.2.99:80", "-", "-"},
		{"the link's broadcast", UDP, "10.0.2.255:9", "-", "-"},
		{"the guest itself", TCP, "10.0.2.15:80", "-", "-"},
		{"another host on the link by IPv6", TCP, "[fd62:616e:6765::99]:80", "-", "-"},
		{"beside the link by IPv6", TCP, "[fd62:616e:6766::2]:80", "-", "D"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dst := netip.MustParseAddrPort(tc.dst)
			for mode, want := range map[string]string{"none": "-", "public": tc.public, "full": tc.full} {
				policy, err := ParsePolicy(mode)
				if err != nil {
					t.Fatal(err)
				}
				v := policy.Decide(tc.protocol, dst)
				if got := map[Action]string{Deny: "-", Dial: "D", Local: "L"}[v.Action]; got != want {
					t.Errorf("%s: got %s (%s), want %s", mode, got, v.Reason, want)
				}
				if (v.Action == Deny) != (v.Reason != "") {
					t.Errorf("%s: action %d with reason %q", mode, v.Action, v.Reason)
				}
				if (v.Action == Dial) != v.Addr.IsValid() {
					t.Errorf("%s: action %d with address %s", mode, v.Action, v.Addr)
				}
				if v.Public != (v.Action == Dial && mode == "public") {
					t.Errorf("%s: Public is %v", mode, v.Public)
				}
			}
		})
	}
}

func TestPolicyGatewayIsLoopback(t *testing.T) {
	policy, err := ParsePolicy("full")
	if err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]string{
		"10.0.2.2:80": "127.0.0.1:80", "[fd62:616e:6765::2]:80": "[::1]:80", "1.1.1.1:80": "1.1.1.1:80",
	} {
		if v := policy.Decide(TCP, netip.MustParseAddrPort(from)); v.Addr.String() != want {
			t.Errorf("%s dials %s, want %s", from, v.Addr, want)
		}
	}
}

func TestPolicyZeroDenies(t *testing.T) {
	if v := (Policy{}).Decide(TCP, netip.MustParseAddrPort("1.1.1.1:80")); v.Action != Deny {
		t.Errorf("the zero policy allows: %+v", v)
	}
	if v := (Policy{mode: modeFull}).Decide(TCP, netip.AddrPort{}); v.Action != Deny {
		t.Errorf("no address is allowed: %+v", v)
	}
}

func TestParsePolicy(t *testing.T) {
	for _, name := range []string{"public", "full", "none"} {
		p, err := ParsePolicy(name)
		if err != nil || p.String() != name {
			t.Errorf("%s: got %s, %v", name, p, err)
		}
	}
	_, err := ParsePolicy("bridge")
	if !errors.Is(err, errdefs.ErrInvalid) || errdefs.Hint(err) == "" {
		t.Errorf("bridge: got %v, want ErrInvalid with a hint", err)
	}
}

func TestHostOwns(t *testing.T) {
	for addr, want := range map[string]bool{"127.0.0.1": true, "127.9.9.9": true, "::1": true, "198.51.100.77": false} {
		if got, err := hostOwns(netip.MustParseAddr(addr)); got != want || err != nil {
			t.Errorf("%s: got %v, %v", addr, got, err)
		}
	}
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range interfaces {
		if p, err := netip.ParsePrefix(a.String()); err == nil && !p.Addr().IsLinkLocalUnicast() {
			if got, err := hostOwns(p.Addr()); !got || err != nil {
				t.Errorf("%s is an interface's: got %v, %v", p.Addr(), got, err)
			}
		}
	}
}

// hostAddress returns an address of this host, other than loopback, that a guest in mode full may reach.
func hostAddress(t *testing.T) netip.Addr {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() && !subnet4.Contains(p.Addr()) {
			return p.Addr()
		}
	}
	t.Skip("this host has no address but loopback")
	return netip.Addr{}
}
