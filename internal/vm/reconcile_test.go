package vm

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/proc"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/store"
)

func TestServiceComesBack(t *testing.T) {
	h := newHome(t)
	s, end := h.service(t)
	create(t, s, api.VMSpec{Name: "stays"})
	create(t, s, api.VMSpec{Name: "ends"})
	create(t, s, api.VMSpec{Name: "removes", AutoRemove: true})
	stays, ends, removes := start(t, s, "stays"), start(t, s, "ends"), start(t, s, "removes")
	end()
	for _, v := range []api.VM{ends, removes} {
		p, err := proc.Open(v.ShimPID, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = p.Signal(syscall.SIGTERM)
		if err := p.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = p.Close()
	}
	s, _ = h.service(t)
	if v, err := s.Get(t.Context(), "stays"); err != nil || v.State != api.StateRunning || v.ShimPID != stays.ShimPID || v.BootID == "" {
		t.Errorf("stays: %+v, %v", v, err)
	}
	mustExec(t, s, "stays", "true")
	if v, err := s.Get(t.Context(), "ends"); err != nil || v.State != api.StateStopped || v.Exit.Reason != "stopped" {
		t.Errorf("ends: %+v, %v", v, err)
	}
	if _, err := s.Get(t.Context(), "removes"); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("removes: %v", err)
	}
	if r, err := s.Stop(t.Context(), "stays", api.StopRequest{}); err != nil || r.VM.Exit.Reason != "stopped" {
		t.Errorf("stop of an adopted vm = %+v, %v", r, err)
	}
	h.clean(t, s)
}

func TestReconcile(t *testing.T) {
	tests := map[string]struct {
		before func(t *testing.T, h home, r *store.VMRecord)
		state  api.State // "": the VM is gone
		reason string
	}{
		"created stays": {func(*testing.T, home, *store.VMRecord) {}, api.StateCreated, ""},
		"running without a shim": {func(_ *testing.T, _ home, r *store.VMRecord) {
			r.State = api.StateStarting
		}, api.StateFailed, "shim-lost"},
		"the host was booted": {func(t *testing.T, h home, r *store.VMRecord) {
			r.State = api.StateStarting
			write(t, dirOf(h, r).Spec(), control.Spec{HostBoot: "another"})
		}, api.StateFailed, "host-reboot"},
		"the shim said how it ended": {func(t *testing.T, h home, r *store.VMRecord) {
			r.State = api.StateStarting
			write(t, dirOf(h, r).Exit(), control.Exit{VMExit: api.VMExit{Reason: "poweroff", At: time.Now()}})
		}, api.StateStopped, "poweroff"},
		"its last word is torn": {func(t *testing.T, h home, r *store.VMRecord) {
			r.State = api.StateStarting
			writeFile(t, dirOf(h, r).Exit(), "{")
		}, api.StateFailed, "shim-lost"},
		"a socket nobody listens on": {func(t *testing.T, h home, r *store.VMRecord) {
			r.State = api.StateStarting
			if err := syscall.Mknod(dirOf(h, r).Socket(), syscall.S_IFSOCK|0o600, 0); err != nil {
				t.Fatal(err)
			}
		}, api.StateFailed, "shim-lost"},
		"deletion had begun": {func(_ *testing.T, _ home, r *store.VMRecord) { r.Deleting = true }, "", ""},
		"to be removed when it stops": {func(_ *testing.T, _ home, r *store.VMRecord) {
			r.State, r.AutoRemove = api.StateStarting, true
		}, "", ""},
		"its files are gone": {func(t *testing.T, h home, r *store.VMRecord) {
			if err := os.RemoveAll(string(dirOf(h, r))); err != nil {
				t.Fatal(err)
			}
		}, api.StateCreated, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHome(t)
			s, end := h.service(t)
			v := create(t, s, api.VMSpec{Name: "box"})
			r, err := s.edit(t.Context(), v.ID, func(r *store.VMRecord) { tt.before(t, h, r) })
			if err != nil {
				t.Fatal(err)
			}
			end()
			s, _ = h.service(t)
			now, err := s.Get(t.Context(), r.ID)
			switch {
			case tt.state == "" && !errors.Is(err, errdefs.ErrNotFound):
				t.Errorf("it is still there: %+v, %v", now, err)
			case tt.state != "" && (err != nil || now.State != tt.state):
				t.Errorf("state %q, %v; want %q", now.State, err, tt.state)
			case tt.reason != "" && (now.Exit == nil || now.Exit.Reason != tt.reason):
				t.Errorf("exit %+v, want %q", now.Exit, tt.reason)
			}
			h.clean(t, s)
		})
	}
}

func TestStrayVMMIsKilledAndStrangersAreNot(t *testing.T) {
	h := newHome(t)
	s, end := h.service(t)
	stray, stranger := sleeper(t), sleeper(t)
	for name, p := range map[string]control.Process{
		"stray":    {PID: stray.Process.Pid, Start: startOf(t, stray)},
		"stranger": {PID: stranger.Process.Pid, Start: startOf(t, stranger) + 1}, // a pid that was used again
	} {
		v := create(t, s, api.VMSpec{Name: name})
		if _, err := s.edit(t.Context(), v.ID, func(r *store.VMRecord) { r.State = api.StateStarting }); err != nil {
			t.Fatal(err)
		}
		write(t, s.dir(v.ID).Processes(), control.Processes{VMM: p})
	}
	end()
	s, _ = h.service(t)
	if err := stray.Wait(); err == nil {
		t.Error("the stray vmm was not killed")
	}
	if err := stranger.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the stranger was killed: %v", err)
	}
	h.clean(t, s)
}

func TestShimWithoutRecordIsKilled(t *testing.T) {
	h := newHome(t)
	s, end := h.service(t)
	v := create(t, s, api.VMSpec{})
	start(t, s, v.ID)
	if err := s.o.Records.DeleteVM(t.Context(), v.ID); err != nil {
		t.Fatal(err)
	}
	end()
	_, _ = h.service(t)
	h.census(t)
}

func TestShimThatDoesNotAnswerIsKilled(t *testing.T) {
	h := newHome(t)
	s, end := h.service(t)
	v := create(t, s, api.VMSpec{})
	v = start(t, s, v.ID)
	end()
	_ = syscall.Kill(v.ShimPID, syscall.SIGSTOP)
	records := h.store(t)
	defer records.Close()
	s = New(h.options(records))
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	ask, cancelAsk := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancelAsk()
	if err := s.putDown(t.Context(), v.ID, ask.Err()); err != nil {
		t.Fatal(err)
	}
	if err := s.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Get(t.Context(), v.ID); err != nil || v.State != api.StateFailed || v.Exit.Reason != "shim-lost" {
		t.Errorf("afterwards: %+v, %v", v, err)
	}
	h.clean(t, s)
}

func dirOf(h home, r *store.VMRecord) control.Dir { return control.Dir(h.dirs.VMs() + "/" + r.ID) }

func write(t *testing.T, path string, v any) {
	t.Helper()
	if err := control.Write(path, v); err != nil {
		t.Fatal(err)
	}
}

func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func startOf(t *testing.T, cmd *exec.Cmd) uint64 {
	t.Helper()
	start, err := proc.StartTime(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return start
}
