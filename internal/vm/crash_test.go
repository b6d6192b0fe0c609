package vm

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/paths"
	"github.com/banger-dev/banger/internal/store"
)

// crashService is a service that lives one VM's whole life and is killed at the point that its environment names.
func crashService(root string) error {
	h := home{dirs: paths.Dirs{Config: root + "/config", State: root + "/state", Cache: root + "/cache", Runtime: root + "/run"}}
	ctx := context.Background()
	records, err := store.Open(ctx, h.dirs.Database())
	if err != nil {
		return err
	}
	o := h.options(records)
	o.At = func(point string) {
		if point == os.Getenv(envServicePoint) {
			killSelf()
		}
	}
	s := New(o)
	if err := s.Reconcile(ctx); err != nil {
		return err
	}
	if _, err := s.Create(ctx, api.VMSpec{Name: "box"}); err != nil {
		return err
	}
	if _, err := s.Start(ctx, "box"); err != nil {
		return err
	}
	if _, err := s.Stop(ctx, "box", api.StopRequest{}); err != nil {
		return err
	}
	return s.Delete(ctx, "box", api.DeleteRequest{})
}

func TestServiceIsKilled(t *testing.T) {
	tests := map[string]struct {
		exists bool
		states []api.State // of which one is right, once a boot that is on has had its time
	}{
		"create.recorded": {false, nil},
		"create.disks":    {false, nil},
		"create.done":     {true, []api.State{api.StateCreated}},
		"start.prepared":  {true, []api.State{api.StateCreated}},
		"start.recorded":  {true, []api.State{api.StateFailed}},
		"start.forked":    {true, []api.State{api.StateRunning}},
		"start.spawned":   {true, []api.State{api.StateRunning}},
		"start.running":   {true, []api.State{api.StateRunning}},
		"stop.asked":      {true, []api.State{api.StateRunning}},
		"ended":           {true, []api.State{api.StateStopped}},
		"delete.marked":   {false, nil},
		"delete.ended":    {false, nil},
		"delete.files":    {false, nil},
		"delete.done":     {false, nil},
	}
	for point, tt := range tests {
		t.Run(point, func(t *testing.T) {
			h := newHome(t)
			cmd := exec.Command(os.Args[0], roleService, h.root())
			cmd.Env = append(os.Environ(), envServicePoint+"="+point)
			cmd.Stderr = os.Stderr
			err := cmd.Run()
			var status *exec.ExitError
			if !errors.As(err, &status) || status.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the service was not killed: %v", err)
			}
			s, _ := h.service(t)
			v, err := s.Get(t.Context(), "box")
			if !tt.exists {
				if !errors.Is(err, errdefs.ErrNotFound) {
					t.Errorf("the vm exists: %+v, %v", v, err)
				}
				h.census(t)
				create(t, s, api.VMSpec{Name: "box"})
			} else {
				if err == nil && v.State == api.StateStarting {
					v = start(t, s, "box") // waits for the boot that is on
				}
				if err != nil || v.State != tt.states[0] {
					t.Errorf("state %v, want %v; %v", v.State, tt.states, err)
				}
			}
			start(t, s, "box")
			mustExec(t, s, "box", "true")
			h.clean(t, s)
		})
	}
}

func (h home) root() string { return h.dirs.State[:len(h.dirs.State)-len("/state")] }

func TestShimOrVMMIsKilled(t *testing.T) {
	for point, reason := range map[string]string{
		"ready": "shim-lost", "prepared": "shim-lost", "started": "shim-lost", "answered": "shim-lost",
		"running": "shim-lost", "stopping": "shim-lost", "ended": "shim-lost", "recorded": "stopped",
		"vmm:started": "boot-failed or crashed", "vmm:answered": "boot-failed or crashed", "vmm:running": "crashed", "vmm:stopping": "crashed or stopped", // it may have ended before it died
	} {
		t.Run(point, func(t *testing.T) {
			h := newHome(t)
			s, _ := h.service(t)
			create(t, s, api.VMSpec{Name: "box"})
			start(t, s, "box")
			if _, err := s.Stop(t.Context(), "box", api.StopRequest{}); err != nil {
				t.Fatal(err)
			}
			t.Setenv(envShimPoint, point)
			began := time.Now()
			if v, err := s.Start(t.Context(), "box"); err == nil {
				if strings.HasPrefix(point, "vmm:") && point != "vmm:stopping" {
					awaitEnd(t, s, v.ID) // a stop could be faster than the death
				}
				if _, err = s.Stop(t.Context(), "box", api.StopRequest{}); err != nil {
					t.Errorf("stop = %v", err)
				}
			}
			v, err := s.Get(t.Context(), "box")
			if err != nil || active(v.State) || v.Exit == nil || !strings.Contains(reason, v.Exit.Reason) {
				t.Errorf("afterwards: %+v, %+v, %v; want %s", v, v.Exit, err, reason)
			}
			if took := time.Since(began); took > 9*time.Second {
				t.Errorf("it took %s", took)
			}
			t.Setenv(envShimPoint, "")
			start(t, s, "box")
			mustExec(t, s, "box", "true")
			h.clean(t, s)
		})
	}
}

func TestFirstStartThatIsKilled(t *testing.T) {
	for _, point := range []string{"ready", "prepared", "started", "answered"} {
		t.Run(point, func(t *testing.T) {
			h := newHome(t)
			s, _ := h.service(t)
			create(t, s, api.VMSpec{Name: "box"})
			t.Setenv(envShimPoint, point)
			if _, err := s.Start(t.Context(), "box"); err == nil {
				t.Error("the start succeeded")
			}
			if v, err := s.Get(t.Context(), "box"); err != nil || v.State != api.StateFailed {
				t.Errorf("afterwards the vm is %s, %v", v.State, err)
			}
			h.clean(t, s)
		})
	}
}
