package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/vmm"
)

const (
	startTimeout   = 90 * time.Second  // for the VMM, the probe of the accelerator included
	bootTimeoutKVM = 60 * time.Second  // from the VMM's start until the guest is ready
	bootTimeoutTCG = 120 * time.Second // software emulation, perhaps on a loaded host
	linkGrace      = 2 * time.Second   // between the end of the link and that of the machine
	signalGrace    = 20 * time.Second  // for the guest to end when the shim is told to by a signal
)

// errStalled is the guest's kernel standing still: under emulation, on a loaded host, an interrupt between its CPUs can
// be lost while it boots. Nothing of the user's has reached such a machine, so it is simply booted again.
var errStalled = errors.New("the guest's kernel stands still")

// run boots the machine, waits for its end and says how it went. The end of ctx asks for an orderly end, that of boot
// calls the boot off.
func (s *shim) run(ctx, boot context.Context) control.Exit {
	defer context.AfterFunc(ctx, func() { s.stop(ctx, signalGrace) })()

	exit, err := s.attempt(ctx, boot, true)
	if errors.Is(err, errStalled) {
		s.log.Warn("boot the machine again", "cause", err, "console", s.console.Lines(errorLines))
		s.board.warn("the guest's kernel stood still while it booted, as it may under emulation on a loaded host; it was booted again")
		s.board.enter(control.StageVMM)
		exit, err = s.attempt(ctx, boot, false)
	}
	return s.verdict(err, exit)
}

// attempt runs one machine from its start to its end. The error is why the guest did not get ready.
func (s *shim) attempt(ctx, boot context.Context, first bool) (vmm.Exit, error) {
	machine, err := s.launch(boot)
	if err != nil {
		return vmm.Exit{At: time.Now()}, bootError(s.board.get().Stage, err)
	}
	var wg sync.WaitGroup
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	wg.Go(func() { s.readConsole(machine.Console()) })
	s.startNetwork(life, machine, &wg)
	ready := make(chan error, 1)
	wg.Go(func() { s.sessions(life, machine.Agent(), ready) })
	if err = s.awaitReady(boot, machine, ready, first); err != nil {
		if err := machine.Kill(); err != nil {
			s.log.Error("cannot kill the vmm", "error", err)
		}
	}
	<-machine.Done()
	end()
	wg.Wait()
	s.at("ended")
	return machine.Exit(), err
}

// launch starts the VMM.
func (s *shim) launch(ctx context.Context) (vmm.Machine, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout,
		errdefs.New(errdefs.ErrTimeout, "the vmm did not start within %s", startTimeout))
	defer cancel()
	driver, err := s.parts.Driver(s.spec)
	if err != nil {
		return nil, err
	}
	capabilities, err := driver.Describe(ctx)
	if err != nil {
		return nil, err
	}
	s.board.change(func(st *control.State) {
		st.Driver, st.Accelerator, st.Reason = capabilities.Driver, capabilities.Accelerator, capabilities.Reason
	})
	machine, err := driver.Prepare(ctx, s.config())
	if err != nil {
		return nil, err
	}
	s.at("prepared")
	s.wishes.set(machine)
	if err := machine.Start(ctx); err != nil {
		return nil, err
	}
	s.board.enter(control.StageKernel)
	s.log.Info("vmm started", "pid", machine.PID(), "driver", capabilities.Driver, "version", capabilities.Version,
		"accelerator", capabilities.Accelerator, "why", capabilities.Reason)
	s.at("started")
	s.recordProcesses(machine)
	s.board.change(func(st *control.State) { st.VMMPID = machine.PID() })
	return machine, nil
}

func (s *shim) config() vmm.Config {
	return vmm.Config{
		ID:      s.spec.ID,
		Dir:     string(s.dir),
		VCPU:    s.spec.VCPU,
		Memory:  s.spec.Memory,
		Kernel:  s.spec.Kernel,
		Disks:   s.spec.Disks,
		Network: s.networked(),
		MAC:     s.spec.MAC,
	}
}

// awaitReady waits until the guest has its identity. When it will not, the error says in which stage and why. In a
// first attempt under emulation, a kernel from which nothing is heard for a third of the time is errStalled.
func (s *shim) awaitReady(ctx context.Context, machine vmm.Machine, ready <-chan error, first bool) error {
	kvm := s.board.get().Accelerator == "kvm"
	limit := s.spec.BootTimeout
	if limit == 0 {
		limit = bootTimeoutTCG
		if kvm {
			limit = bootTimeoutKVM
		}
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	stall := time.NewTimer(limit / 3)
	defer stall.Stop()
	if kvm || !first {
		stall.Stop()
	}
	for {
		var err error
		select {
		case err = <-ready:
		case <-machine.Done():
			err = errdefs.New(errdefs.ErrUnavailable, "the machine ended")
		case <-stall.C:
			if s.board.get().Stage != control.StageKernel {
				continue
			}
			err = errStalled
		case <-timer.C:
			err = errdefs.New(errdefs.ErrTimeout, "the guest was not ready within %s", limit)
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		return bootError(s.board.get().Stage, err)
	}
}

// bootError says in which stage a boot failed.
func bootError(stage string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("boot stage %s: %w", stage, err)
}

// readConsole reads the console to its end, which comes with the machine's.
func (s *shim) readConsole(r io.Reader) {
	if _, err := io.Copy(s.console, r); err != nil {
		s.log.Warn("console ended early", "error", err)
	}
}

func (s *shim) networked() bool { return s.spec.Net != "none" }

// startNetwork serves the guest's link. A network that fails is reported and does not end the VM.
func (s *shim) startNetwork(life context.Context, machine vmm.Machine, wg *sync.WaitGroup) {
	if !s.networked() {
		return
	}
	network, err := s.parts.Network(machine.Network(), s.spec, s.log)
	if err != nil {
		s.log.Error("network does not start", "error", err)
		s.board.warn("the vm has no network: " + err.Error())
		return
	}
	wg.Go(func() {
		s.watchNetwork(life, network)
		if err := network.Close(); err != nil {
			s.log.Warn("network ended with an error", "error", err)
		}
	})
}

// watchNetwork returns when the network or the machine has ended. The link of a machine that ends may end a little
// sooner than the machine; only one that stays away is worth a warning.
func (s *shim) watchNetwork(life context.Context, network Network) {
	select {
	case <-life.Done():
		return
	case <-network.Done():
	}
	timer := time.NewTimer(linkGrace)
	defer timer.Stop()
	select {
	case <-life.Done():
	case <-timer.C:
		s.log.Error("network ended before the vm")
		s.board.warn("the vm has lost its network; restart it")
	}
}
