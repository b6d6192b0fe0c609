package network

import "net/netip"

// The ports of the stack's own services.
const (
	portDNS  = 53
	portDHCP = 67
)

// A special range of addresses, and what it is for.
type addressRange struct {
	prefix netip.Prefix
	what   string
}

// unroutableRanges never lead anywhere that a packet from the guest could rightly go, whatever the policy. IPv4-mapped
// addresses are among them because a socket takes them for IPv4: ::ffff:127.0.0.1 would be the host's loopback.
var unroutableRanges = ranges(
	"0.0.0.0/8", "this network",
	"127.0.0.0/8", "loopback",
	"224.0.0.0/4", "multicast",
	"255.255.255.255/32", "broadcast",
	"240.0.0.0/4", "reserved",
	"::/128", "unspecified",
	"::1/128", "loopback",
	"::ffff:0:0/96", "IPv4-mapped",
	"::/96", "IPv4-compatible",
	"fe80::/10", "link-local",
	"ff00::/8", "multicast",
)

// privateRanges are those of the IANA special-purpose registries (RFC 6890 and its updates) that are not globally
// reachable, and those that tunnel into IPv4 by rules of their own.
var privateRanges = ranges(
	"10.0.0.0/8", "private",
	"100.64.0.0/10", "carrier-grade NAT",
	"169.254.0.0/16", "link-local and cloud metadata",
	"172.16.0.0/12", "private",
	"192.0.0.0/24", "IETF protocol assignments",
	"192.0.2.0/24", "documentation",
	"192.88.99.0/24", "6to4 relay",
	"192.168.0.0/16", "private",
	"198.18.0.0/15", "benchmarking",
	"198.51.100.0/24", "documentation",
	"203.0.113.0/24", "documentation",
	"64:ff9b:1::/48", "local NAT64",
	"100::/64", "discard",
	"100:0:0:1::/64", "dummy",
	"2001::/23", "IETF protocol assignments, Teredo, ORCHID",
	"2001:db8::/32", "documentation",
	"3fff::/20", "documentation",
	"5f00::/16", "segment routing",
	"fc00::/7", "unique local and cloud metadata",
	"fec0::/10", "site-local",
)

// Ranges whose addresses carry an IPv4 address that packets end up at.
var (
	nat64  = netip.MustParsePrefix("64:ff9b::/96")
	sixTo4 = netip.MustParsePrefix("2002::/16")
	global = netip.MustParsePrefix("2000::/3") // all that IANA has given out as global unicast
)

func ranges(pairs ...string) []addressRange {
	var out []addressRange
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, addressRange{netip.MustParsePrefix(pairs[i]), pairs[i+1]})
	}
	return out
}

func find(list []addressRange, addr netip.Addr) string {
	for _, r := range list {
		if r.prefix.Contains(addr) {
			return r.what
		}
	}
	return ""
}

// unroutable returns why no packet to addr may leave, or "".
func unroutable(addr netip.Addr) string {
	if !addr.IsValid() || addr.Zone() != "" {
		return "not an address"
	}
	if addr.Is4In6() { // Prefix.Contains never matches these against an IPv6 prefix
		return "IPv4-mapped"
	}
	return find(unroutableRanges, addr)
}

// notPublic returns why addr is not an address of the public Internet, or "".
func notPublic(addr netip.Addr) string {
	if reason := unroutable(addr); reason != "" {
		return reason
	}
	if reason := find(privateRanges, addr); reason != "" {
		return reason
	}
	if addr.Is4() {
		return ""
	}
	raw := addr.As16()
	switch {
	case nat64.Contains(addr):
		return embedded("NAT64", raw[12:16])
	case sixTo4.Contains(addr):
		return embedded("6to4", raw[2:6])
	case !global.Contains(addr):
		return "not global unicast"
	default:
		return ""
	}
}

// embedded judges an IPv6 address by the IPv4 address in it.
func embedded(how string, raw []byte) string {
	if reason := notPublic(netip.AddrFrom4([4]byte(raw))); reason != "" {
		return how + " of " + reason
	}
	return ""
}
