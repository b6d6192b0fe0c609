package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/guest/proto"
)

func TestLifecycle(t *testing.T) {
	h := newHome(t)
	s, _ := h.service(t)
	v := create(t, s, api.VMSpec{Name: "box", Env: []string{"MINE=1"}})
	if v.State != api.StateCreated || v.Name != "box" || v.Image != "img" || v.Kernel != "ok" {
		t.Errorf("created: %+v", v)
	}
	v = start(t, s, "box")
	if v.State != api.StateRunning || v.ShimPID == 0 || v.VMMPID == 0 || v.Driver != "fake" || v.BootID == "" || v.StartedAt == nil {
		t.Errorf("started: %+v", v)
	}
	if again := start(t, s, "box"); again.ShimPID != v.ShimPID {
		t.Error("a second start made another shim")
	}
	if out := mustExec(t, s, "box", "sh", "-c", "echo $FROM $MINE; exit 0"); out != "image 1\n" {
		t.Errorf("exec = %q", out)
	}
	if err := s.Delete(t.Context(), "box", api.DeleteRequest{}); !errors.Is(err, errdefs.ErrState) || errdefs.Hint(err) == "" {
		t.Errorf("delete of a running vm = %v", err)
	}
	r, err := s.Stop(t.Context(), "box", api.StopRequest{})
	if err != nil || r.Escalated || r.VM.State != api.StateStopped || r.VM.Exit.Reason != "stopped" || r.VM.ShimPID != 0 {
		t.Errorf("stop = %+v, %v", r, err)
	}
	if r, err := s.Stop(t.Context(), "box", api.StopRequest{}); err != nil || r.VM.State != api.StateStopped {
		t.Errorf("second stop = %+v, %v", r, err)
	}
	if _, err := s.DialShim(t.Context(), "box"); !errors.Is(err, errdefs.ErrState) {
		t.Errorf("dial of a stopped vm = %v", err)
	}
	again := start(t, s, "box")
	if v, err := s.Restart(t.Context(), "box", api.StopRequest{}); err != nil || v.State != api.StateRunning || v.ShimPID == again.ShimPID {
		t.Errorf("restart = %+v, %v", v, err)
	}
	if v, err := s.Kill(t.Context(), "box"); err != nil || v.State != api.StateStopped || v.Exit.Reason != "killed" {
		t.Errorf("kill = %+v, %v", v, err)
	}
	var console strings.Builder
	if err := s.Console(t.Context(), "box", true, -1, &console); err != nil || strings.Count(console.String(), "fake kernel") != 3 {
		t.Errorf("console = %q, %v", console.String(), err)
	}
	h.clean(t, s)
	if err := s.Delete(t.Context(), "box", api.DeleteRequest{}); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("delete of a deleted vm = %v", err)
	}
}

func TestCreateRefuses(t *testing.T) {
	h := newHome(t)
	s, _ := h.service(t)
	create(t, s, api.VMSpec{Name: "taken"})
	tests := map[string]struct {
		spec  api.VMSpec
		class error
	}{
		"name":           {api.VMSpec{Name: "A"}, errdefs.ErrInvalid},
		"taken name":     {api.VMSpec{Name: "taken"}, errdefs.ErrExists},
		"image":          {api.VMSpec{Image: "none"}, errdefs.ErrNotFound},
		"kernel":         {api.VMSpec{Kernel: "none"}, errdefs.ErrNotFound},
		"memory":         {api.VMSpec{Memory: 1}, errdefs.ErrInvalid},
		"negative disk":  {api.VMSpec{DiskSize: -1}, errdefs.ErrInvalid},
		"absurd overlay": {api.VMSpec{OverlaySize: 1 << 60}, errdefs.ErrInvalid},
		"vcpu":           {api.VMSpec{VCPU: 1000}, errdefs.ErrInvalid},
		"net":            {api.VMSpec{Net: "lan"}, errdefs.ErrInvalid},
		"env":            {api.VMSpec{Env: []string{"X"}}, errdefs.ErrInvalid},
		"workdir":        {api.VMSpec{Workdir: "here"}, errdefs.ErrInvalid},
		"label":          {api.VMSpec{Labels: map[string]string{"a\n": "b"}}, errdefs.ErrInvalid},
		"owner alone":    {api.VMSpec{OwnerPID: os.Getpid()}, errdefs.ErrInvalid},
		"owner gone":     {api.VMSpec{OwnerPID: 1 << 22, AutoRemove: true}, errdefs.ErrInvalid},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := s.Create(t.Context(), tt.spec); !errors.Is(err, tt.class) {
				t.Errorf("Create = %v, want class %v", err, tt.class)
			}
		})
	}
	h.clean(t, s)
}

func TestStartFails(t *testing.T) {
	tests := map[string]struct {
		kernel string
		class  error
		words  []string
	}{
		"panic": {"panic", errdefs.ErrUnavailable, []string{"stage kernel", "Kernel panic - not syncing: VFS", "fake kernel"}},
		"hang":  {"hang", errdefs.ErrTimeout, []string{"stage kernel", "not ready within", "fake kernel: hang"}},
	}
	h := newHome(t)
	s, _ := h.service(t, func(o *Options) { o.BootTimeout = 500 * time.Millisecond })
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			v := create(t, s, api.VMSpec{Kernel: tt.kernel})
			_, err := s.Start(t.Context(), v.ID)
			if !errors.Is(err, tt.class) || errdefs.Hint(err) == "" {
				t.Errorf("Start = %v, hint %q", err, errdefs.Hint(err))
			}
			for _, w := range tt.words {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("Start = %v, want %q in it", err, w)
				}
			}
			if v, err := s.Get(t.Context(), v.ID); err != nil || v.State != api.StateFailed {
				t.Errorf("after the start the vm is %s, %v", v.State, err)
			}
			if err := s.Delete(t.Context(), v.ID, api.DeleteRequest{}); err != nil {
				t.Errorf("Delete = %v", err)
			}
			h.census(t)
		})
	}
}

func TestFullDisk(t *testing.T) {
	if err := checkSpace(t.TempDir(), 1<<62); !errors.Is(err, errdefs.ErrExhausted) || errdefs.Hint(err) == "" {
		t.Errorf("checkSpace = %v", err)
	}
	if err := checkSpace(t.TempDir(), 1); err != nil {
		t.Errorf("checkSpace = %v", err)
	}
}

func TestShimThatCannotStart(t *testing.T) {
	h := newHome(t)
	tests := map[string]struct {
		change func(o *Options)
		words  string
	}{
		"no such program": {func(o *Options) { o.Shim = []string{"/nonexistent/banger", "shim"} }, "/nonexistent/banger"},
		"ends at once":    {func(o *Options) { o.Shim = []string{"/bin/true"} }, "ended before it served"},
		"spec is gone": {func(o *Options) {
			o.At = func(p string) {
				if p == "start.recorded" {
					specs, _ := filepath.Glob(h.dirs.VMs() + "/*/shim.json")
					_ = os.Remove(specs[0])
				}
			}
		}, "shim.json"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s, _ := h.service(t, tt.change)
			v := create(t, s, api.VMSpec{})
			if _, err := s.Start(t.Context(), v.ID); err == nil || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("Start = %v", err)
			}
			h.clean(t, s)
		})
	}
}

func TestCancelledStartLeavesNothing(t *testing.T) {
	h := newHome(t)
	s, _ := h.service(t)
	v := create(t, s, api.VMSpec{Kernel: "hang"})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := s.Start(ctx, v.ID); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Start = %v", err)
	}
	h.clean(t, s)
}

func TestStopDuringStart(t *testing.T) {
	h := newHome(t)
	spawned := make(chan struct{}, 1)
	s, _ := h.service(t, func(o *Options) {
		o.At = func(p string) {
			if p == "start.spawned" {
				spawned <- struct{}{}
			}
		}
	})
	v := create(t, s, api.VMSpec{Kernel: "hang"})
	started := make(chan error, 1)
	go func() {
		_, err := s.Start(context.WithoutCancel(t.Context()), v.ID)
		started <- err
	}()
	<-spawned
	if _, err := s.Stop(t.Context(), v.ID, api.StopRequest{}); err != nil {
		t.Errorf("Stop = %v", err)
	}
	if err := <-started; !errors.Is(err, errStopped) {
		t.Errorf("Start = %v", err)
	}
	if v, err := s.Get(t.Context(), v.ID); err != nil || active(v.State) {
		t.Errorf("after the stop: %+v, %v", v, err)
	}
	h.clean(t, s)
}

func TestStopEscalates(t *testing.T) {
	h := newHome(t)
	s, _ := h.service(t)
	v := create(t, s, api.VMSpec{Kernel: "deaf"})
	start(t, s, v.ID)
	r, err := s.Stop(t.Context(), v.ID, api.StopRequest{TimeoutMS: 200})
	if err != nil || !r.Escalated || r.VM.Exit.Reason != "killed" || !strings.Contains(r.VM.Exit.Detail, "200ms") {
		t.Errorf("Stop = %+v, %v", r, err)
	}
	h.clean(t, s)
}

func TestVMMDeathIsSeen(t *testing.T) {
	h := newHome(t)
	s, _ := h.service(t)
	v := create(t, s, api.VMSpec{})
	v = start(t, s, v.ID)
	_ = syscall.Kill(v.VMMPID, syscall.SIGKILL)
	awaitEnd(t, s, v.ID)
	v, err := s.Get(t.Context(), v.ID)
	if err != nil || v.State != api.StateFailed || v.Exit.Reason != "crashed" || len(v.Exit.Console) == 0 {
		t.Errorf("after the death: %+v, %+v, %v", v, v.Exit, err)
	}
	start(t, s, v.ID)
	h.clean(t, s)
}

func TestShimDeathIsSeen(t *testing.T) {
	h := newHome(t)
	s, _ := h.service(t)
	v := create(t, s, api.VMSpec{})
	v = start(t, s, v.ID)
	_ = syscall.Kill(v.ShimPID, syscall.SIGKILL)
	awaitEnd(t, s, v.ID)
	v, err := s.Get(t.Context(), v.ID)
	if err != nil || v.State != api.StateFailed || v.Exit.Reason != "shim-lost" {
		t.Errorf("after the death: %+v, %v", v, err)
	}
	if p := h.processes(); len(p) != 0 {
		t.Errorf("left: %v", p)
	}
	start(t, s, v.ID)
	h.clean(t, s)
}

func TestTermIsAnOrderlyStop(t *testing.T) {
	h := newHome(t)
	s, _ := h.service(t)
	v := create(t, s, api.VMSpec{})
	v = start(t, s, v.ID)
	_ = syscall.Kill(v.ShimPID, syscall.SIGTERM)
	awaitEnd(t, s, v.ID)
	v, err := s.Get(t.Context(), v.ID)
	if err != nil || v.State != api.StateStopped || v.Exit.Reason != "stopped" {
		t.Errorf("after SIGTERM: %+v, %v", v, err)
	}
	h.clean(t, s)
}

func TestAutoRemove(t *testing.T) {
	h := newHome(t)
	s, _ := h.service(t)
	v := create(t, s, api.VMSpec{AutoRemove: true})
	start(t, s, v.ID)
	if v, err := s.Restart(t.Context(), v.ID, api.StopRequest{}); err != nil || v.State != api.StateRunning {
		t.Fatalf("restart = %+v, %v", v, err)
	}
	r, err := s.Stop(t.Context(), v.ID, api.StopRequest{})
	if err != nil || r.VM.Exit == nil || r.VM.Exit.Reason != "stopped" {
		t.Errorf("stop = %+v, %v", r, err)
	}
	h.census(t)
}

func TestOwnerEndRemoves(t *testing.T) {
	for _, when := range []string{"created", "starting", "running"} {
		t.Run(when, func(t *testing.T) {
			h := newHome(t)
			done, spawned := make(chan struct{}), make(chan struct{}, 9)
			s, _ := h.service(t, func(o *Options) {
				o.At = func(p string) {
					switch p {
					case "delete.done":
						close(done)
					case "start.spawned":
						spawned <- struct{}{}
					}
				}
			})
			owner, err := os.StartProcess("/bin/sleep", []string{"sleep", "100"}, &os.ProcAttr{})
			if err != nil {
				t.Fatal(err)
			}
			v := create(t, s, api.VMSpec{AutoRemove: true, OwnerPID: owner.Pid, Kernel: map[bool]string{true: "hang"}[when == "starting"]})
			var wg sync.WaitGroup
			switch when {
			case "starting":
				wg.Go(func() {
					if _, err := s.Start(context.WithoutCancel(t.Context()), v.ID); !errors.Is(err, errDeleted) {
						t.Errorf("Start = %v", err)
					}
				})
				<-spawned
			case "running":
				start(t, s, v.ID)
			}
			_ = owner.Kill()
			_, _ = owner.Wait()
			select {
			case <-done:
			case <-time.After(20 * time.Second):
				t.Fatal("the vm is not removed")
			}
			wg.Wait()
			h.clean(t, s)
		})
	}
}

func TestManyAtOnce(t *testing.T) {
	h := newHome(t)
	s, _ := h.service(t)
	var g errgroup.Group
	for i := range 3 {
		g.Go(func() error {
			name := fmt.Sprintf("vm%d", i)
			if _, err := s.Create(t.Context(), api.VMSpec{Name: name}); err != nil {
				return err
			}
			if _, err := s.Start(t.Context(), name); err != nil {
				return err
			}
			var execs errgroup.Group
			for range 70 {
				execs.Go(func() error {
					out, status, err := execIn(t.Context(), s, name, proto.ExecRequest{Command: []string{"sh", "-c", "echo hi; exit 3"}})
					if err != nil || status.Code != 3 || out != "hi\n" {
						return fmt.Errorf("exec = %q, %+v, %w", out, status, err)
					}
					return nil
				})
			}
			return execs.Wait()
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for i := range 20 { // of twenty who want it, one gets the name
		g.Go(func() error {
			_, err := s.Create(t.Context(), api.VMSpec{Name: "same"})
			if err != nil && !errors.Is(err, errdefs.ErrExists) {
				return err
			}
			_, err = s.Create(t.Context(), api.VMSpec{Labels: map[string]string{"n": fmt.Sprint(i)}})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if all, err := s.List(t.Context()); err != nil || len(all) != 24 {
		t.Errorf("%d vms, %v", len(all), err)
	}
	h.clean(t, s)
}
