package vm

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/shim/logfile"
	"github.com/banger-dev/banger/internal/store"
)

// List returns all VMs, ordered by when they were made.
func (s *Service) List(ctx context.Context) ([]api.VM, error) {
	all, err := s.o.Records.VMs(ctx)
	if err != nil {
		return nil, err
	}
	vms := make([]api.VM, 0, len(all))
	for _, r := range all {
		vms = append(vms, s.view(r))
	}
	slices.SortStableFunc(vms, func(a, b api.VM) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return vms, nil
}

// Get returns one VM.
func (s *Service) Get(ctx context.Context, reference string) (api.VM, error) {
	r, err := s.resolve(ctx, reference)
	if err != nil {
		return api.VM{}, err
	}
	return s.view(r), nil
}

// view puts what the shim says over what the record says.
func (s *Service) view(r store.VMRecord) api.VM {
	vm := r.VM
	s.mu.Lock()
	running, busy := s.runs[r.ID], s.busy[r.ID] != nil
	s.mu.Unlock()
	if running != nil {
		state, _ := running.look()
		vm.State = states[state.Phase]
		facts(&vm, state)
		vm.ShimPID, vm.VMMPID, vm.Exit, vm.StoppedAt = running.shim.PID, state.VMMPID, nil, nil
		if state.Phase == control.Ended && state.Exit != nil {
			setEnd(&vm, *state.Exit)
		}
		return vm
	}
	if active(vm.State) && !busy { // its end could not be recorded
		vm.State = api.StateFailed
	}
	return vm
}

var states = map[control.Phase]api.State{
	control.Starting: api.StateStarting,
	control.Running:  api.StateRunning,
	control.Paused:   api.StatePaused,
	control.Ended:    api.StateStopped,
}

// active tells whether a record says that a shim should be there.
func active(s api.State) bool {
	return s == api.StateStarting || s == api.StateRunning || s == api.StatePaused
}

// facts notes what a shim says about a run.
func facts(vm *api.VM, state control.State) {
	if state.Driver == "" {
		return // the shim has not said anything yet
	}
	vm.Driver, vm.Accelerator, vm.BootMS = state.Driver, state.Accelerator, state.BootMS
	if state.Guest != nil {
		vm.BootID, vm.Init = state.Guest.BootID, state.Guest.Init
	}
}

// setEnd notes how a run ended.
func setEnd(vm *api.VM, exit control.Exit) {
	at := exit.At
	if at.IsZero() {
		at = time.Now()
	}
	vm.State, vm.StoppedAt, vm.Exit = api.StateStopped, &at, &exit.VMExit
	vm.ShimPID, vm.VMMPID = 0, 0
	switch exit.Reason {
	case "boot-failed", "crashed", "shim-lost", "host-reboot":
		vm.State = api.StateFailed
	}
}

// DialShim connects to the shim of a running VM, which speaks the HTTP of package control.
func (s *Service) DialShim(ctx context.Context, reference string) (net.Conn, error) {
	r, err := s.resolve(ctx, reference)
	if err != nil {
		return nil, err
	}
	if vm := s.view(r); !active(vm.State) {
		return nil, notRunning(vm)
	}
	c, err := control.Dial(ctx, s.dir(r.ID))
	if err != nil {
		return nil, errdefs.New(errdefs.ErrState, "connect to vm %s: %w", r.Name, err)
	}
	return c, nil
}

func notRunning(vm api.VM) error {
	return errdefs.WithHint(errdefs.New(errdefs.ErrState, "vm %s is not running: it is %s", vm.Name, vm.State),
		"start it with `banger start %s`", vm.Name)
}

// Console copies the last tail lines of a VM's console to w, all that is kept when tail is negative. With follow it
// goes on until the VM or ctx ends.
func (s *Service) Console(ctx context.Context, reference string, follow bool, tail int, w io.Writer) error {
	r, err := s.resolve(ctx, reference)
	if err != nil {
		return err
	}
	if running := s.current(r.ID); running != nil && follow {
		err := running.client.Console(ctx, w, tail, true)
		if !errors.Is(err, control.ErrGone) { // else it has just ended
			return err
		}
	}
	return logfile.Copy(w, s.dir(r.ID).Console(), tail)
}
