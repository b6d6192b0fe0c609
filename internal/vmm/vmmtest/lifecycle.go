package vmmtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/vmmtest/guestproto"
)

func testDescribe(t *testing.T, s suite) {
	c, err := s.driver.Describe(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if c.Driver == "" || c.Version == "" || c.Reason == "" || c.Accelerator != "kvm" && c.Accelerator != "tcg" {
		t.Errorf("incomplete capabilities: %+v", c)
	}
}

func testPoweroff(t *testing.T, s suite) {
	g := s.boot(t, s.config(t))
	if g.Network() != nil {
		t.Error("a network link without a network")
	}
	g.send(guestproto.Poweroff)
	g.ended(vmm.CausePoweroff)
}

func testReboot(t *testing.T, s suite) {
	g := s.boot(t, s.config(t))
	g.send(guestproto.Reboot)
	g.ended(vmm.CauseReboot)
}

func testPanic(t *testing.T, s suite) {
	g := s.boot(t, s.config(t))
	g.send(guestproto.Panic)
	if exit := g.ended(vmm.CausePanic); !strings.Contains(exit.Detail, "sysrq triggered crash") {
		t.Errorf("detail %q does not say why", exit.Detail)
	}
}

func testKill(t *testing.T, s suite) {
	g := s.boot(t, s.config(t))
	for range 2 {
		if err := g.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	g.ended(vmm.CauseKilled)
	if err := g.Pause(bounded(t)); !errors.Is(err, errdefs.ErrState) {
		t.Errorf("pause after the end: %v, want ErrState", err)
	}
}

func testKillBeforeStart(t *testing.T, s suite) {
	m := s.prepare(t, s.config(t))
	if err := m.Kill(); err != nil {
		t.Fatal(err)
	}
	ended(t, m, vmm.CauseKilled)
	if err := m.Start(bounded(t)); !errors.Is(err, errdefs.ErrState) {
		t.Errorf("start after kill: %v, want ErrState", err)
	}
}

func testKilledFromOutside(t *testing.T, s suite) {
	g := s.boot(t, s.config(t))
	if g.PID() == 0 {
		g.kill()
		t.Skip("the driver has no process")
	}
	if err := unix.Kill(g.PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if exit := g.ended(vmm.CauseCrashed); !strings.Contains(exit.Detail, "signal 9") {
		t.Errorf("detail %q does not name the signal", exit.Detail)
	}
}

func testStartTwice(t *testing.T, s suite) {
	g := s.boot(t, s.config(t))
	if err := g.Start(bounded(t)); !errors.Is(err, errdefs.ErrState) {
		t.Errorf("second start: %v, want ErrState", err)
	}
	g.kill()
}

func testCancelledBefore(t *testing.T, s suite) {
	m := s.prepare(t, s.config(t))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := m.Start(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("start: %v, want context.Canceled", err)
	}
	if pid := m.PID(); pid != 0 && alive(pid) {
		t.Errorf("process %d is left", pid)
	}
	<-m.Done()
}

// testCancelledMeanwhile cancels at moments from before the process exists to after the machine runs.
func testCancelledMeanwhile(t *testing.T, s suite) {
	for delay := time.Duration(0); delay < 64*time.Millisecond; delay = 2*delay + 500*time.Microsecond {
		m := s.prepare(t, s.config(t))
		ctx, cancel := context.WithTimeout(context.Background(), delay)
		err := m.Start(ctx)
		cancel()
		if err == nil { // it was faster
			c := record(m.Console())
			if err := m.Kill(); err != nil {
				t.Error(err)
			}
			ended(t, m, vmm.CauseKilled)
			<-c.done
			_ = m.Agent().Close()
			continue
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("start cancelled after %s: %v, want context.DeadlineExceeded", delay, err)
		}
		select {
		case <-m.Done():
		default:
			t.Errorf("start cancelled after %s: not done when it returned", delay)
		}
		if pid := m.PID(); pid != 0 && alive(pid) {
			t.Errorf("start cancelled after %s: process %d is left", delay, pid)
		}
	}
}

func testContextEnds(t *testing.T, s suite) {
	m := s.prepare(t, s.config(t))
	ctx, cancel := context.WithCancel(context.Background())
	if err := m.Start(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	g := newGuest(t, m)
	g.send(guestproto.Poweroff)
	g.ended(vmm.CausePoweroff)
}

// testPause checks both ways: a paused guest must be silent, so the wait is a part of the test.
func testPause(t *testing.T, s suite) {
	c, err := s.driver.Describe(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if !c.Pause {
		t.Skip("the driver cannot pause")
	}
	g := s.boot(t, s.config(t))
	for range 2 {
		if err := g.Pause(bounded(t)); err != nil {
			t.Fatal(err)
		}
	}
	g.send("%s 4\nabcd", guestproto.Echo)
	_ = g.Agent().SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if b, err := g.in.ReadByte(); err == nil {
		t.Errorf("a paused guest answers %q", b)
	}
	for range 2 {
		if err := g.Resume(bounded(t)); err != nil {
			t.Fatal(err)
		}
	}
	answer := make([]byte, 4)
	g.read(answer)
	if string(answer) != "abcd" {
		t.Errorf("answer %q", answer)
	}
	g.kill()
}

// testPowerButton: the suite's guests do not listen, so nothing may come of it.
func testPowerButton(t *testing.T, s suite) {
	g := s.boot(t, s.config(t))
	if err := g.PowerButton(bounded(t)); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want nil or ErrUnsupported", err)
	}
	g.send(guestproto.Reboot)
	g.ended(vmm.CauseReboot)
}

func testNotAKernel(t *testing.T, s suite) {
	cfg := s.config(t)
	for name, text := range map[string]string{"empty": "", "text": "hello, world\n"} {
		cfg.Kernel.Vmlinux = filepath.Join(cfg.Dir, name)
		if err := os.WriteFile(cfg.Kernel.Vmlinux, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.prepare(t, cfg).Start(bounded(t)); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
}

func testMissingFiles(t *testing.T, s suite) {
	for name, change := range map[string]func(*vmm.Config, string){
		"kernel": func(c *vmm.Config, file string) { c.Kernel.Vmlinux = file },
		"initrd": func(c *vmm.Config, file string) { c.Kernel.Initrd = file },
		"disk":   func(c *vmm.Config, file string) { c.Disks = []vmm.Disk{{Path: file, Serial: "x"}} },
	} {
		cfg := s.config(t)
		change(&cfg, filepath.Join(cfg.Dir, "nowhere"))
		_, err := s.driver.Prepare(bounded(t), cfg)
		if !errors.Is(err, errdefs.ErrNotFound) || !strings.Contains(err.Error(), "nowhere") {
			t.Errorf("%s: %v, want ErrNotFound with its name", name, err)
		}
	}
}

func testImpossible(t *testing.T, s suite) {
	for name, one := range map[string]struct {
		change func(*vmm.Config)
		want   error
	}{
		"no cpu":          {func(c *vmm.Config) { c.VCPU = 0 }, errdefs.ErrInvalid},
		"no memory":       {func(c *vmm.Config) { c.Memory = 0 }, errdefs.ErrInvalid},
		"too much memory": {func(c *vmm.Config) { c.Memory = 1 << 50 }, errdefs.ErrExhausted},
		"long serial": {func(c *vmm.Config) {
			c.Disks = []vmm.Disk{{Path: "/dev/null", Serial: strings.Repeat("x", 21)}}
		}, errdefs.ErrInvalid},
	} {
		cfg := s.config(t)
		one.change(&cfg)
		if _, err := s.driver.Prepare(bounded(t), cfg); !errors.Is(err, one.want) {
			t.Errorf("%s: %v, want %v", name, err, one.want)
		}
	}
}
