package vm

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/kernel"
	"github.com/banger-dev/banger/internal/op"
	"github.com/banger-dev/banger/internal/proc"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/store"
	"github.com/banger-dev/banger/internal/vmm"
)

// Start boots a VM and returns when commands can be run in it. One that runs already is left as it is. A start
// that fails or is given up leaves the VM stopped or failed, unless it is one that is removed when it stops.
func (s *Service) Start(ctx context.Context, reference string) (api.VM, error) {
	r, err := s.resolve(ctx, reference)
	if err != nil {
		return api.VM{}, fmt.Errorf("start vm: %w", err)
	}
	err = s.exclusive(ctx, r.ID, func(ctx context.Context) error { return s.start(ctx, r.ID) })
	if err != nil {
		return api.VM{}, fmt.Errorf("start vm %s: %w", r.Name, err)
	}
	if r, err = s.record(ctx, r.ID); err != nil {
		return api.VM{}, fmt.Errorf("start vm: %w", err)
	}
	return s.view(r), nil
}

// start is called in exclusive.
func (s *Service) start(ctx context.Context, id string) error {
	if running := s.current(id); running != nil {
		state, _ := running.look()
		switch state.Phase {
		case control.Running:
			return nil
		case control.Paused:
			return errdefs.New(errdefs.ErrState, "it is paused")
		case control.Starting: // found so when the service began
			return s.awaitRunning(ctx, running)
		case control.Ended:
			if err := await(ctx, running.gone); err != nil {
				return err
			}
		}
	}
	r, err := s.record(ctx, id)
	if err != nil {
		return err
	}
	if r.Deleting {
		return errdefs.New(errdefs.ErrState, "it is being deleted")
	}
	return s.startNew(ctx, r)
}

// startNew boots a VM that does not run, and undoes what it did when that fails.
func (s *Service) startNew(ctx context.Context, r store.VMRecord) error {
	running, err := s.boot(ctx, r)
	if err == nil {
		s.at("start.running")
		return nil
	}
	undo, cancel := cleanup(ctx)
	defer cancel()
	if running != nil {
		err = errors.Join(err, s.end(undo, running))
	} else if _, e := s.edit(undo, r.ID, func(now *store.VMRecord) { *now = r }); e != nil {
		err = errors.Join(err, e)
	}
	if r.AutoRemove && !errors.Is(context.Cause(ctx), errStopped) {
		err = errors.Join(err, s.remove(undo, r.ID))
	}
	return err
}

// boot runs the VM in a shim and returns when it is ready. It returns the run as soon as there is one, also with an error.
func (s *Service) boot(ctx context.Context, r store.VMRecord) (*run, error) {
	stage := op.Begin(ctx, "prepare", r.Name)
	err := s.prepare(ctx, r)
	if stage.End(err) != nil {
		return nil, err
	}
	s.at("start.prepared")
	r, err = s.edit(ctx, r.ID, func(r *store.VMRecord) {
		now := time.Now()
		r.State, r.StartedAt, r.StoppedAt, r.Exit, r.BootMS, r.BootID = api.StateStarting, &now, nil, nil, 0, ""
	})
	if err != nil {
		return nil, err
	}
	s.at("start.recorded")
	running, err := s.spawn(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	s.register(ctx, running)
	s.at("start.spawned")
	return running, s.awaitRunning(ctx, running)
}

// prepare writes what the shim is to run and removes what the last run left.
func (s *Service) prepare(ctx context.Context, r store.VMRecord) error {
	if err := checkSpace(s.o.Dirs.VMs(), reserve); err != nil {
		return err
	}
	image, err := s.o.Images.Ensure(ctx, r.ImageID, "never")
	if err != nil {
		return err
	}
	boot, err := s.o.Kernels.Boot(ctx, r.KernelID)
	if err != nil {
		return err
	}
	hostBoot, err := proc.BootID()
	if err != nil {
		return err
	}
	dir := s.dir(r.ID)
	for _, old := range []string{dir.Exit(), dir.Processes()} {
		if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return control.WriteVolatile(dir.Spec(), control.Spec{
		ID: r.ID, Name: r.Name, HostBoot: hostBoot, VCPU: r.VCPU, Memory: r.Memory,
		Kernel: vmm.Kernel{Vmlinux: boot.Vmlinux, Initrd: boot.Initrd},
		Disks:  disks(dir, image, boot),
		Net:    r.Net, MAC: mac(r.ID), Resolvers: s.o.Config.Resolvers,
		Identity: proto.Identity{
			Hostname: r.Name, WorkDisk: true, Env: slices.Concat(image.Config.Env, r.Env),
			Workdir: or(r.Workdir, image.Config.Workdir), User: image.Config.User,
		},
		VMM: control.VMM{
			Binary: s.o.Config.QEMU, Accelerator: s.o.Config.Accelerator, CacheDir: s.o.Dirs.Cache,
		},
		BootTimeout: s.o.BootTimeout,
	})
}

func disks(dir control.Dir, image api.Image, boot kernel.Boot) []vmm.Disk {
	all := []vmm.Disk{
		{Path: image.Rootfs.Path, Serial: proto.SerialRootfs, ReadOnly: true},
		{Path: dir.Overlay(), Serial: proto.SerialOverlay},
		{Path: dir.Work(), Serial: proto.SerialWork},
	}
	if boot.Modules != "" {
		all = append(all, vmm.Disk{Path: boot.Modules, Serial: proto.SerialModules, ReadOnly: true})
	}
	return all
}

// mac makes a locally administered address of the six bytes of a VM's id.
func mac(id string) string {
	b, err := hex.DecodeString(id)
	if err != nil || len(b) < 6 {
		b = []byte(id + "banger") // an id of another make; any bytes do
	}
	return fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4])
}

// awaitRunning waits until the guest is ready, reporting the boot's stages, or says why it did not get there.
func (s *Service) awaitRunning(ctx context.Context, running *run) error {
	var stage *op.Stage
	end := func(err error) error {
		if stage != nil {
			err, stage = stage.End(err), nil
		}
		return err
	}
	name := ""
	for {
		state, changed := running.look()
		if state.Phase == control.Starting && state.Stage != name {
			_ = end(nil)
			name = state.Stage
			stage = op.Begin(ctx, "boot: "+name, bootDetail(state))
		}
		switch state.Phase {
		case control.Running, control.Paused:
			for _, w := range state.Warnings {
				op.Warn(ctx, w)
			}
			return end(nil)
		case control.Ended:
			return end(bootFailure(state.Exit))
		case control.Starting:
		}
		select {
		case <-changed:
		case <-running.gone:
			return end(bootFailure(running.end))
		case <-ctx.Done():
			return end(context.Cause(ctx))
		}
	}
}

// bootDetail tells which accelerator is used, and why, when the guest begins to run.
func bootDetail(state control.State) string {
	if state.Stage != control.StageKernel {
		return ""
	}
	return fmt.Sprintf("%s %s: %s", state.Driver, state.Accelerator, state.Reason)
}

// bootFailure says why a run ended before the guest was ready.
func bootFailure(exit *control.Exit) error {
	if exit == nil {
		return errdefs.New(errdefs.ErrUnavailable, "it ended while it was starting")
	}
	if exit.Error != nil {
		return control.Unpack(exit.Error)
	}
	return errdefs.New(errdefs.ErrUnavailable, "it ended while it was starting: %s: %s", exit.Reason, exit.Detail)
}

func await(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
