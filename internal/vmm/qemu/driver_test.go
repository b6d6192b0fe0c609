package qemu

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/accel"
	"github.com/banger-dev/banger/internal/vmm/vmmtest"
)

// script is a program that plays QEMU.
func script(t *testing.T, body string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "qemu")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestDescribeUnusableHosts(t *testing.T) {
	for _, one := range []struct {
		name, binary, want string
	}{
		{"missing", "/nowhere/qemu", "find qemu"},
		{"not in path", "no-such-qemu", "find qemu"},
		{"too old", script(t, "echo QEMU emulator version 6.2.0"), "version 6.2.0 is older than 7.2.0"},
		{"not qemu", script(t, "echo hello"), "no version"},
		{"fails", script(t, "exit 3"), "exit status 3"},
	} {
		t.Run(one.name, func(t *testing.T) {
			d := New(Options{Binary: one.binary, Accelerator: accel.TCG, CacheDir: t.TempDir()})
			_, err := d.Describe(context.Background())
			if !errors.Is(err, errdefs.ErrUnavailable) || !strings.Contains(err.Error(), one.want) {
				t.Errorf("got %v, want ErrUnavailable with %q", err, one.want)
			}
			if strings.Contains(one.want, "find") && !strings.Contains(errdefs.Hint(err), "apt-get install qemu-system-x86") {
				t.Errorf("hint %q", errdefs.Hint(err))
			}
		})
	}
}

func TestDescribe(t *testing.T) {
	d := New(Options{Binary: script(t, "echo QEMU emulator version 8.1.2"), Accelerator: accel.TCG, CacheDir: t.TempDir()})
	c, err := d.Describe(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if c.Version != "8.1.2" || c.Accelerator != "tcg" || !c.Pause {
		t.Errorf("got %+v", c)
	}
}

// TestStartFails: what QEMU says before it gives up becomes an error of the right class, and nothing is left.
func TestStartFails(t *testing.T) {
	defer goleak.VerifyNone(t)
	for _, one := range []struct {
		name, body, want string
		class            error
	}{
		{"says why", "echo 'qemu: no such machine' >&2; exit 1", "qemu: no such machine", errdefs.ErrUnavailable},
		{
			"locked", `echo 'qemu: -device x: Failed to get "write" lock' >&2; exit 1`, "write", errdefs.ErrInUse,
		},
		{"memory", "echo 'cannot set up guest memory: Cannot allocate memory' >&2; exit 1", "memory", errdefs.ErrExhausted},
		{"no kernel", "echo 'qemu: invalid kernel header' >&2; exit 1", "invalid kernel", errdefs.ErrInvalid},
		{"silent", "exit 7", "exit status 7", nil},
		{"talks nonsense", "echo nonsense >&3; exec sleep 100", "parse qmp message", nil},
		{"endless line", "exec cat /dev/zero >&3 2>/dev/null", "too long", nil},
	} {
		t.Run(one.name, func(t *testing.T) {
			m := fakeMachine(t, one.body)
			err := m.Start(context.Background())
			if err == nil || !strings.Contains(err.Error(), one.want) || !errors.Is(errdefs.Class(err), one.class) {
				t.Errorf("got %v (class %v), want %q in class %v", err, errdefs.Class(err), one.want, one.class)
			}
			<-m.Done()
		})
	}
}

func TestStartCancelledWhileQEMUHangs(t *testing.T) {
	defer goleak.VerifyNone(t)
	m := fakeMachine(t, "exec sleep 100")
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := m.Start(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want context.DeadlineExceeded", err)
	}
	<-m.Done()
}

func fakeMachine(t *testing.T, body string) *machine {
	t.Helper()
	h := testHost(accel.TCG)
	h.binary = script(t, body)
	k := vmmtest.NoKernel(t)
	return newMachine(h, vmm.Config{ID: "test", Dir: t.TempDir(), VCPU: 1, Memory: 64 << 20, Kernel: k})
}
