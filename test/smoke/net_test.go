//go:build smoke

package smoke

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// echoServer answers each connection on the host's loopback with one line.
func echoServer(t *testing.T) (port int) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello from the host\n")
			c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// resolver is a DNS server on the host's loopback that knows one name. It returns its address.
func resolver(t *testing.T) string {
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Name == "answer.example." && q.Question[0].Qtype == dns.TypeA {
			rr, _ := dns.NewRR("answer.example. 60 IN A 192.0.2.42")
			m.Answer = append(m.Answer, rr)
		} else if q.Question[0].Name != "answer.example." {
			m.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = srv.ActivateAndServe() }()
	t.Cleanup(func() { _ = srv.Shutdown() })
	return pc.LocalAddr().String()
}

// withConfig writes the configuration of this home for one scenario and restarts the daemon around it.
func withConfig(t *testing.T, b *banger, text string) {
	dir := filepath.Join(home, "config")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b.stopDaemon()
	t.Cleanup(func() {
		os.Remove(file)
		b.stopDaemon()
	})
}

// fetch makes the guest connect and print what it hears.
func fetch(host string, port int) []string {
	return []string{"sh", "-c", fmt.Sprintf("timeout 20 nc %s %d </dev/null", host, port)}
}

func netEgressDefault(t *testing.T, b *banger) {
	port := echoServer(t)
	vm := b.vm()
	// The host's loopback, its other addresses, private ranges and metadata are refused, and at once.
	hosts := []string{"10.0.2.2", "127.0.0.1", "192.168.1.1", "10.1.2.3", "169.254.169.254", "100.64.0.1"}
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if ip := a.(*net.IPNet).IP; ip.To4() != nil && ip.IsPrivate() {
				hosts = append(hosts, ip.String())
			}
		}
	}
	for _, host := range hosts {
		r := b.try(append([]string{"vm", "exec", vm, "--"}, fetch(host, port)...)...)
		if strings.Contains(r.stdout, "hello from the host") || r.code == 0 && host != "127.0.0.1" {
			t.Errorf("%s is reachable: exit %d %q %q", host, r.code, r.stdout, r.stderr)
		}
	}
}

func netFull(t *testing.T, b *banger) {
	withConfig(t, b, fmt.Sprintf("resolvers = [%q]\n", resolver(t)))
	port := echoServer(t)
	vm := b.vm("--net", "full")
	if out := b.ok(append([]string{"vm", "exec", vm, "--"}, fetch("10.0.2.2", port)...)...); out != "hello from the host" {
		t.Errorf("TCP to the host's loopback: %q", out)
	}
	out := b.ok("vm", "exec", vm, "--", "nslookup", "answer.example")
	if !strings.Contains(out, "192.0.2.42") {
		t.Errorf("nslookup: %s", out)
	}
	if r := b.try("vm", "exec", vm, "--", "nslookup", "missing.example"); r.code == 0 {
		t.Errorf("a name that does not exist: %s", r.stdout)
	}
	if r := b.try("vm", "exec", vm, "--", "sh", "-c", "nc 10.0.2.2 1 </dev/null"); r.code == 0 {
		t.Errorf("a closed port: %q", r.stdout)
	}
}

func netNone(t *testing.T, b *banger) {
	vm := b.vm("--net", "none")
	if out := b.ok("vm", "exec", vm, "--", "ls", "/sys/class/net"); out != "lo" {
		t.Errorf("interfaces: %q", out)
	}
}

// offlineRun boots with no network at all on the host: in a network namespace with nothing in it.
func offlineRun(t *testing.T, b *banger) {
	b.stopDaemon() // the daemon must live in the namespace too
	t.Cleanup(b.stopDaemon)
	cmd := b.command("vm", "run", "--rm", "--image", "minimal", "--", "echo", "offline")
	inner := append([]string{"--user", "--map-current-user", "--net", "--", cmd.Path}, cmd.Args[1:]...)
	r := run(t, cmd.Env, "unshare", inner...)
	if r.code != 0 || r.stdout != "offline\n" {
		t.Errorf("exit %d, %q\n%s", r.code, r.stdout, r.stderr)
	}
}
