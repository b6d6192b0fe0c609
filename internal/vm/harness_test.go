package vm

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/banger-dev/banger/internal/guest"
	"github.com/banger-dev/banger/internal/guest/agent"
	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/shim"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/fake"
)

// The test binary is also the shim, and the service that is killed.
const (
	roleShim    = "test-shim"
	roleService = "test-service"
	roleReal    = "test-real-shim"

	envShimPoint    = "BANGER_TEST_SHIM_POINT"    // where the shim kills itself, or its VMM with "vmm:" before it
	envServicePoint = "BANGER_TEST_SERVICE_POINT" // where the service kills itself
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // operations of no request log there
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case roleShim:
			exit(shim.Process(context.Background(), os.Args[3], fakeParts()))
		case roleReal:
			exit(shim.Main(context.Background(), os.Args[3]))
		case roleService:
			exit(crashService(os.Args[2]))
		}
	}
	goleak.VerifyTestMain(m)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// fakeParts makes a shim whose guest is the real agent in this process.
func fakeParts() shim.Parts {
	return shim.Parts{
		Driver:  func(control.Spec) (vmm.Driver, error) { return fake.New(fake.Options{Guest: fakeGuest}), nil },
		Connect: func(ctx context.Context, port net.Conn) (shim.Agent, error) { return guest.Connect(ctx, port) },
		Network: func(link net.Conn, _ control.Spec, _ *slog.Logger) (shim.Network, error) {
			return newFakeNet(link), nil
		},
		Guest: func() proto.Network { return proto.Network{} },
		At:    shimPoint,
	}
}

func shimPoint(point string) {
	switch os.Getenv(envShimPoint) {
	case point:
		killSelf()
	case "vmm:" + point:
		killChildren()
	}
}

func killSelf() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // not one step further
}

func killChildren() {
	children, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, t := range tasks {
		more, _ := os.ReadFile(t)
		children = append(children, more...)
	}
	for _, f := range strings.Fields(string(children)) {
		pid, _ := strconv.Atoi(f)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// fakeNet reads the link away.
type fakeNet struct {
	link net.Conn
	done chan struct{}
}

func newFakeNet(link net.Conn) *fakeNet {
	n := &fakeNet{link, make(chan struct{})}
	go func() {
		defer close(n.done)
		_, _ = io.Copy(io.Discard, link)
	}()
	return n
}

func (n *fakeNet) Done() <-chan struct{} { return n.done }
func (n *fakeNet) Close() error          { err := n.link.Close(); <-n.done; return err }

// system is a machine that a shutdown ends.
type system struct {
	ended chan vmm.Cause
	deaf  bool
}

func (s system) Apply(context.Context, proto.Identity) error { return nil }

func (s system) Shutdown(_ context.Context, r proto.ShutdownRequest) error {
	if s.deaf {
		return nil
	}
	cause := vmm.CausePoweroff
	if r.Reboot {
		cause = vmm.CauseReboot
	}
	select {
	case s.ended <- cause:
	default:
	}
	return nil
}

// fakeGuest behaves as the text of its kernel says.
func fakeGuest(ctx context.Context, h fake.Hardware) vmm.Cause {
	behaviour, _ := os.ReadFile(h.Config.Kernel.Vmlinux)
	_, _ = fmt.Fprintf(h.Console, "[    0.1] fake kernel: %s\r\n", behaviour)
	s := system{ended: make(chan vmm.Cause, 1)}
	switch string(behaviour) {
	case "panic":
		_, _ = io.WriteString(h.Console, "[    0.2] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n[    0.3] CPU: 0 PID: 1\r\n")
		return vmm.CauseReboot
	case "hang":
		<-ctx.Done()
		return vmm.CausePoweroff
	case "deaf":
		s.deaf = true
	}
	guest, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = agent.Serve(guest, h.Agent, agent.Options{Version: "test", System: s})
	}()
	defer func() { cancel(); <-served }()
	select {
	case cause := <-s.ended:
		return cause
	case <-ctx.Done():
		return vmm.CausePoweroff
	}
}
