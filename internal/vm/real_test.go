package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/config"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/image"
	"github.com/banger-dev/banger/internal/image/recipe"
	"github.com/banger-dev/banger/internal/kernel"
	"github.com/banger-dev/banger/internal/paths"
	"github.com/banger-dev/banger/internal/vmm/qemu"
)

// realHome is a banger with QEMU, the distribution's kernel, the minimal image and this tree's agent. Images and kernels
// are kept in the user's cache from one run of the tests to the next.
func realHome(t *testing.T) (home, func(o *Options)) {
	t.Helper()
	if os.Getenv("BANGER_TEST_VM") != "1" {
		t.Skip("set BANGER_TEST_VM=1 to boot real machines")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(cache, "banger-vmtest")
	t.Cleanup(func() { endProcesses(root) })
	h := home{dirs: paths.Dirs{Config: root + "/config", State: root + "/state", Cache: root + "/cache", Runtime: root + "/run"}}
	if err := h.dirs.Make(); err != nil {
		t.Fatal(err)
	}
	agent := filepath.Join(root, "banger-agent")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", agent, "github.com/banger-dev/banger/cmd/banger-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build agent: %v: %s", err, out)
	}
	return h, func(o *Options) {
		records := o.Records.(interface {
			image.Records
			kernel.Records
		})
		o.Images = image.New(image.Options{Dirs: h.dirs, Records: records, Recipes: recipe.All(recipe.Options{})})
		o.Kernels = kernel.New(kernel.Options{Dirs: h.dirs, Records: records, AgentPath: agent})
		o.Driver = qemu.New(qemu.Options{CacheDir: h.dirs.Cache})
		o.Shim = []string{os.Args[0], roleReal}
		o.Config = config.Config{
			Image: "minimal", Kernel: "debian-cloud", VCPU: 2, Memory: 512 << 20, DiskSize: 1 << 30, OverlaySize: 8 << 30, Net: "full",
			QEMU: "qemu-system-x86_64", Accelerator: "auto", Resolvers: []string{nameServer(t)},
		}
	}
}

// nameServer serves one name on the loopback.
func nameServer(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA && q.Question[0].Name == "host.test." {
			rr, _ := dns.NewRR("host.test. 60 IN A 10.0.2.2")
			a.Answer = append(a.Answer, rr)
		}
		_ = w.WriteMsg(a)
	})}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.ActivateAndServe() })
	t.Cleanup(func() { _ = conn.Close(); wg.Wait() })
	return conn.LocalAddr().String()
}

// echo serves one connection after the other on the loopback and returns its port.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// timed logs how long f takes: the numbers are part of what this test is for.
func timed(t *testing.T, what string, f func()) {
	t.Helper()
	began := time.Now()
	f()
	t.Logf("%-16s %6d ms", what, time.Since(began).Milliseconds())
}

func TestRealVM(t *testing.T) {
	h, real := realHome(t)
	s, end := h.service(t, real)
	h.clean(t, s) // of an earlier run that failed
	var v api.VM
	timed(t, "create", func() { v = create(t, s, api.VMSpec{Name: "real", Env: []string{"GREETING=hello"}}) })
	timed(t, "first start", func() { v = start(t, s, v.ID) })
	logStages(t, s, v)
	timed(t, "exec", func() { mustExec(t, s, "real", "true") })
	if out := mustExec(t, s, "real", "sh", "-c", "echo $GREETING from $(hostname)"); out != "hello from real\n" {
		t.Errorf("exec = %q", out)
	}
	if rss := residentMB(t, v.ShimPID); rss > 30 {
		t.Errorf("the shim has %d MB resident", rss)
	}
	port := echo(t)
	for _, host := range []string{"10.0.2.2", "host.test"} {
		if out := mustExec(t, s, "real", "sh", "-c", "echo ping | nc -w 5 "+host+" "+port); out != "ping\n" {
			t.Errorf("echo from %s = %q", host, out)
		}
	}
	mustExec(t, s, "real", "sh", "-c", "echo work > /root/kept; echo system > /etc/kept")
	timed(t, "stop", func() {
		if r, err := s.Stop(t.Context(), "real", api.StopRequest{}); err != nil || r.Escalated || r.VM.Exit.Reason != "stopped" {
			t.Errorf("stop = %+v, %+v, %v", r, r.VM.Exit, err)
		}
	})
	fsck(t, s.dir(v.ID).Work(), s.dir(v.ID).Overlay())

	end() // and another service takes over
	s, _ = h.service(t, real)
	timed(t, "second start", func() { v = start(t, s, "real") })
	if out := mustExec(t, s, "real", "cat", "/root/kept", "/etc/kept"); out != "work\nsystem\n" {
		t.Errorf("kept = %q", out)
	}
	mustExec(t, s, "real", "sh", "-c", "echo synced > /root/synced; sync")
	_ = syscall.Kill(v.VMMPID, syscall.SIGKILL)
	awaitEnd(t, s, v.ID)
	if v, err := s.Get(t.Context(), "real"); err != nil || v.State != api.StateFailed || v.Exit.Reason != "crashed" {
		t.Errorf("after the vmm's death: %+v, %+v, %v", v, v.Exit, err)
	}
	v = start(t, s, "real")
	if out := mustExec(t, s, "real", "cat", "/root/synced"); out != "synced\n" {
		t.Errorf("synced = %q", out)
	}
	_ = syscall.Kill(v.ShimPID, syscall.SIGKILL)
	awaitEnd(t, s, v.ID)
	if p := h.processes(); len(p) != 0 {
		t.Errorf("the shim's death left %v", p)
	}
	timed(t, "delete", func() { h.clean(t, s) })
}

func TestRealBootFailures(t *testing.T) {
	h, real := realHome(t)
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		change func(o *Options)
		class  error
		words  string
	}{
		"no qemu": {func(o *Options) {
			o.Config.QEMU = "/nonexistent/qemu"
			o.Driver = qemu.New(qemu.Options{Binary: o.Config.QEMU})
		}, errdefs.ErrUnavailable, "qemu"},
		"not a kernel": {func(o *Options) {
			o.Kernels = otherKernel{o.Kernels, busybox}
		}, errdefs.ErrInvalid, "stage vmm"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, _ := h.service(t, real, tt.change)
			v, err := s.Create(t.Context(), api.VMSpec{})
			if err == nil {
				_, err = s.Start(t.Context(), v.ID)
			}
			t.Logf("%v (hint: %s)", err, errdefs.Hint(err))
			if !errors.Is(err, tt.class) || !strings.Contains(err.Error(), tt.words) || errdefs.Hint(err) == "" {
				t.Errorf("error %v, hint %q", err, errdefs.Hint(err))
			}
			h.clean(t, s)
		})
	}
}

// otherKernel boots another file than the kernel's.
type otherKernel struct {
	Kernels
	vmlinux string
}

func (k otherKernel) Boot(ctx context.Context, id string) (kernel.Boot, error) {
	b, err := k.Kernels.Boot(ctx, id)
	b.Vmlinux = k.vmlinux
	return b, err
}

func logStages(t *testing.T, s *Service, v api.VM) {
	t.Helper()
	state, err := s.current(v.ID).client.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range state.Stages {
		t.Logf("  stage %-10s %6d ms", st.Name, st.MS)
	}
	t.Logf("%s %s, agent answered after %d ms, warnings %q", v.Driver, v.Accelerator, v.BootMS, state.Warnings)
}

func residentMB(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("shim: %d KiB resident", kb)
	return kb >> 10
}

func fsck(t *testing.T, disks ...string) {
	t.Helper()
	for _, d := range disks {
		if out, err := exec.Command("e2fsck", "-fn", d).CombinedOutput(); err != nil {
			t.Errorf("e2fsck %s: %v: %s", filepath.Base(d), err, out)
		}
	}
}
