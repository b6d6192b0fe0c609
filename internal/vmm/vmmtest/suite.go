// Package vmmtest is the contract of package vmm as tests. Every driver's tests call Run with a factory of their own.
package vmmtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/vmmtest/guestproto"
)

// patience bounds every wait for a machine. It is far longer than anything takes, even under KVM in emulation on a
// loaded host.
const patience = 3 * time.Minute

// Fixture is what the suite needs besides a driver.
type Fixture struct {
	Kernel vmm.Kernel // its init obeys guestproto
	// Hardware: the guest is a real kernel, so that devices and panics can be tested.
	Hardware bool
}

// Run runs the suite. Each test makes a driver of its own. A test that leaves a descriptor or a goroutine fails.
func Run(t *testing.T, newDriver func(testing.TB) vmm.Driver, f Fixture) {
	if os.Getenv(envParent) != "" {
		beParent(t, suite{driver: newDriver(t), fixture: f})
	}
	for _, one := range []struct {
		name string
		test func(*testing.T, suite)
		hard bool
	}{
		{"describe", testDescribe, false},
		{"poweroff", testPoweroff, false},
		{"reboot", testReboot, false},
		{"panic", testPanic, true},
		{"kill", testKill, false},
		{"kill before start", testKillBeforeStart, false},
		{"killed from outside", testKilledFromOutside, false},
		{"parent killed", testParentKilled, false},
		{"start twice", testStartTwice, false},
		{"start cancelled before", testCancelledBefore, false},
		{"start cancelled meanwhile", testCancelledMeanwhile, false},
		{"context ends after start", testContextEnds, false},
		{"pause and resume", testPause, false},
		{"power button", testPowerButton, false},
		{"agent echo", testEcho, false},
		{"console", testConsole, false},
		{"network", testNetwork, true},
		{"disks", testDisks, true},
		{"missing files", testMissingFiles, false},
		{"impossible configurations", testImpossible, false},
		{"disk in use", testDiskInUse, true},
		{"full host disk", testFullHostDisk, true},
		{"not a kernel", testNotAKernel, true},
	} {
		if one.hard && !f.Hardware {
			continue
		}
		t.Run(one.name, func(t *testing.T) {
			goroutines := goleak.IgnoreCurrent()
			before := descriptors(t)
			one.test(t, suite{driver: newDriver(t), fixture: f})
			goleak.VerifyNone(t, goroutines)
			if after := descriptors(t); after > before {
				t.Errorf("%d descriptors open before, %d after", before, after)
			}
		})
	}
}

type suite struct {
	driver  vmm.Driver
	fixture Fixture
}

// config is the smallest machine that boots.
func (s suite) config(t *testing.T) vmm.Config {
	return vmm.Config{ID: "vmmtest", Dir: t.TempDir(), VCPU: 1, Memory: 256 << 20, Kernel: s.fixture.Kernel}
}

// guest is a running machine whose guest is ready to obey.
type guest struct {
	vmm.Machine
	t       *testing.T
	in      *bufio.Reader
	console *transcript
}

func (s suite) prepare(t *testing.T, cfg vmm.Config) vmm.Machine {
	t.Helper()
	m, err := s.driver.Prepare(bounded(t), cfg)
	if err != nil {
		t.Fatalf("prepare: %v", err)
	}
	return m
}

func (s suite) boot(t *testing.T, cfg vmm.Config) *guest {
	t.Helper()
	m := s.prepare(t, cfg)
	if err := m.Start(bounded(t)); err != nil {
		t.Fatalf("start: %v", err)
	}
	return newGuest(t, m)
}

// newGuest waits until the guest of a started machine is ready.
func newGuest(t *testing.T, m vmm.Machine) *guest {
	t.Helper()
	g := &guest{Machine: m, t: t, in: bufio.NewReaderSize(m.Agent(), 64<<10), console: record(m.Console())}
	if line := g.line(); line != guestproto.Ready {
		t.Fatalf("the guest's first line is %q; console:\n%s", line, g.console.text())
	}
	return g
}

// bounded is a context that ends before the test's patience does.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func (g *guest) send(format string, args ...any) {
	g.t.Helper()
	if _, err := fmt.Fprintf(g.Agent(), format+"\n", args...); err != nil {
		g.t.Fatalf("send: %v", err)
	}
}

func (g *guest) line() string {
	g.t.Helper()
	_ = g.Agent().SetReadDeadline(time.Now().Add(patience))
	line, err := g.in.ReadString('\n')
	if err != nil {
		g.t.Fatalf("read from the guest: %v; console:\n%s", err, g.console.text())
	}
	return strings.TrimSuffix(line, "\n")
}

func (g *guest) read(p []byte) {
	g.t.Helper()
	_ = g.Agent().SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadFull(g.in, p); err != nil {
		g.t.Fatalf("read from the guest: %v", err)
	}
}

// ended waits for the end and checks the contract that holds after each.
func (g *guest) ended(want vmm.Cause) vmm.Exit {
	g.t.Helper()
	exit := ended(g.t, g.Machine, want)
	_ = g.Agent().SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, g.in); err != nil && !isClosed(err) {
		g.t.Errorf("read from the agent after the end: %v", err)
	}
	_ = g.Agent().Close()
	select {
	case <-g.console.done:
	case <-time.After(patience):
		g.t.Error("the console did not end")
	}
	return exit
}

func ended(t *testing.T, m vmm.Machine, want vmm.Cause) vmm.Exit {
	t.Helper()
	select {
	case <-m.Done():
	case <-time.After(patience):
		t.Fatal("the machine did not end")
	}
	exit := m.Exit()
	if exit.Cause != want {
		t.Errorf("exit %+v, want cause %q", exit, want)
	}
	if exit.Detail == "" || exit.At.IsZero() || time.Since(exit.At) > patience {
		t.Errorf("exit %+v has no detail or a wrong time", exit)
	}
	if pid := m.PID(); pid != 0 && alive(pid) {
		t.Errorf("process %d is left", pid)
	}
	if err := m.Kill(); err != nil {
		t.Errorf("kill after the end: %v", err)
	}
	return exit
}

func (g *guest) kill() {
	g.t.Helper()
	if err := g.Kill(); err != nil {
		g.t.Fatalf("kill: %v", err)
	}
	g.ended(vmm.CauseKilled)
}

// transcript reads a console to its end.
type transcript struct {
	done chan struct{} // closed at EOF
	err  error         // valid after done

	mu  sync.Mutex
	out strings.Builder
}

func record(console io.Reader) *transcript {
	r := &transcript{done: make(chan struct{})}
	go func() {
		defer close(r.done)
		_, r.err = io.Copy(r, console)
	}()
	return r
}

func (r *transcript) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(p)
}

func (r *transcript) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

// alive reports whether pid is a process that has not ended. A zombie has not been reaped, so it counts.
func alive(pid int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	return err == nil
}

func isClosed(err error) bool { return strings.Contains(err.Error(), net.ErrClosed.Error()) }

func descriptors(t *testing.T) int {
	t.Helper()
	files, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}
