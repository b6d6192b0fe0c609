package netlink

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inNamespace runs this test again in a network namespace of its own, as root of a user namespace.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv("NETLINK_TEST_CHILD") != "" {
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "NETLINK_TEST_CHILD=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
			t.Skip("no user namespaces here:", err)
		}
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// tap makes an Ethernet interface and returns its index.
func tap(t *testing.T) int {
	t.Helper()
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no tap devices here:", err)
	}
	t.Cleanup(func() { f.Close() })
	req, err := unix.NewIfreq("eth0")
	if err != nil {
		t.Fatal(err)
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(int(f.Fd()), unix.TUNSETIFF, req); err != nil {
		t.Fatal(err)
	}
	i, err := net.InterfaceByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	return i.Index
}

func TestConfigure(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	c, err := Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	link := tap(t)
	v4, v6 := netip.MustParsePrefix("10.0.2.15/24"), netip.MustParsePrefix("fd62:616e:6765::15/64")
	for range 2 { // everything is idempotent
		for _, step := range []struct {
			name string
			err  error
		}{
			{"link", c.SetLinkUp(link, 9000)},
			{"IPv4 address", c.SetAddress(link, v4)},
			{"IPv6 address", c.SetAddress(link, v6)},
			{"IPv4 route", c.SetDefaultRoute(link, netip.MustParseAddr("10.0.2.2"))},
			{"IPv6 route", c.SetDefaultRoute(link, netip.MustParseAddr("fd62:616e:6765::2"))},
		} {
			if step.err != nil {
				t.Fatalf("%s: %v", step.name, step.err)
			}
		}
	}
	i, err := net.InterfaceByIndex(link)
	if err != nil || i.MTU != 9000 || i.Flags&net.FlagUp == 0 {
		t.Errorf("interface %+v, error %v", i, err)
	}
	has := func(p netip.Prefix) bool {
		addrs, err := i.Addrs()
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(addrs, func(a net.Addr) bool { return a.String() == p.String() })
	}
	if !has(v4) || !has(v6) {
		t.Errorf("an address is missing")
	}
	if err := c.DeleteAddress(link, v4); err != nil || has(v4) {
		t.Errorf("the address stays, error %v", err)
	}
	if err := c.DeleteAddress(link, v4); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("delete what is not there: %v", err)
	}
	if err := c.SetLinkUp(4711, 0); !errors.Is(err, unix.ENODEV) {
		t.Errorf("no such interface: %v", err)
	}
}

func TestVerdictOfOddAnswers(t *testing.T) {
	for name, b := range map[string][]byte{"short": {1, 2, 3}, "short acknowledgement": newMessage(unix.NLMSG_ERROR, 0).finish(1)} {
		if _, err := verdict(b, 1); name != "short" && err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if done, err := verdict(newMessage(unix.NLMSG_DONE, 0).finish(1), 1); done || err != nil {
		t.Errorf("done %v, error %v", done, err)
	}
}
