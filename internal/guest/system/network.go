package system

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/banger-dev/banger/internal/guest/netlink"
	"github.com/banger-dev/banger/internal/guest/proto"
)

// setNetwork configures the machine's one link. Addresses of an earlier identity go.
func setNetwork(n proto.Network) error {
	addresses, err := parse(n.Addresses, netip.ParsePrefix)
	if err != nil {
		return err
	}
	gateways, err := parse(n.Gateways, netip.ParseAddr)
	if err != nil {
		return err
	}
	link, err := findLink()
	if err != nil {
		return err
	}
	c, err := netlink.Dial()
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetLinkUp(link.Index, n.MTU); err != nil {
		return fmt.Errorf("bring %s up: %w", link.Name, err)
	}
	if err := setAddresses(c, link, addresses); err != nil {
		return err
	}
	for _, g := range gateways {
		if err := c.SetDefaultRoute(link.Index, g); err != nil {
			return fmt.Errorf("route by %s: %w", g, err)
		}
	}
	return replace("/etc/resolv.conf", resolvConf(n))
}

func parse[T any](list []string, f func(string) (T, error)) ([]T, error) {
	out := make([]T, 0, len(list))
	for _, s := range list {
		v, err := f(s)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// findLink returns the one interface that is a device.
func findLink() (*net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for i, l := range all {
		if _, err := os.Stat(filepath.Join("/sys/class/net", l.Name, "device")); err == nil {
			return &all[i], nil
		}
	}
	return nil, errors.New("the machine has no network device")
}

func setAddresses(c *netlink.Conn, link *net.Interface, want []netip.Prefix) error {
	for _, p := range want {
		if err := c.SetAddress(link.Index, p); err != nil {
			return fmt.Errorf("add address %s: %w", p, err)
		}
	}
	have, err := link.Addrs()
	if err != nil {
		return err
	}
	for _, a := range have {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || p.Addr().IsLinkLocalUnicast() || slices.Contains(want, p) {
			continue
		}
		if err := c.DeleteAddress(link.Index, p); err != nil {
			return fmt.Errorf("remove address %s: %w", p, err)
		}
	}
	return nil
}

func resolvConf(n proto.Network) []byte {
	var b strings.Builder
	for _, s := range n.Nameservers {
		fmt.Fprintf(&b, "nameserver %s\n", s)
	}
	if len(n.Search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(n.Search, " "))
	}
	return []byte(b.String())
}
