// Package fake is a driver whose guest is a function in this process. It keeps the contract of package vmm and is made
// to fail at will. Each machine has a child process that does nothing, so that there is something to find and to kill.
package fake

import (
	"context"
	"fmt"
	"io"
	"net"

	"github.com/banger-dev/banger/internal/vmm"
)

// Step is a moment in a machine's life.
type Step string

// The steps, in their order.
const (
	StepPrepare Step = "prepare" // the configuration has been checked
	StepStart   Step = "start"   // there is no process yet
	StepBoot    Step = "boot"    // the process exists, the guest does not run
	StepRunning Step = "running" // Start has returned or is about to
)

// Options configure a driver.
type Options struct {
	// Guest plays the guest. It must return soon after ctx has ended; its connections are closed then. What it returns
	// is how the machine ends. Nil is a guest that does nothing until it is killed.
	Guest func(ctx context.Context, h Hardware) vmm.Cause
	// Fail is called at each step of each machine; nil means that nothing fails. An error at StepPrepare, StepStart and
	// StepBoot is that of Prepare or Start; at StepRunning it crashes the machine, with the error as the detail.
	// To hang, it waits for ctx, which for the first three is the caller's, and then returns ctx.Err().
	Fail func(ctx context.Context, s Step, cfg vmm.Config) error
}

// Hardware is the guest's side of a machine. While the machine is paused, reads and writes wait.
type Hardware struct {
	Config  vmm.Config
	Agent   net.Conn
	Console io.Writer
	Network net.Conn // nil without Config.Network
}

// Driver makes fake machines.
type Driver struct{ o Options }

var _ vmm.Driver = (*Driver)(nil)

// New returns a driver.
func New(o Options) *Driver {
	if o.Guest == nil {
		o.Guest = func(ctx context.Context, _ Hardware) vmm.Cause {
			<-ctx.Done()
			return vmm.CausePoweroff
		}
	}
	if o.Fail == nil {
		o.Fail = func(context.Context, Step, vmm.Config) error { return nil }
	}
	return &Driver{o: o}
}

// Describe implements vmm.Driver.
func (d *Driver) Describe(context.Context) (vmm.Capabilities, error) {
	return vmm.Capabilities{
		Driver: "fake", Version: "1", Accelerator: "tcg", Reason: "the guest is a function", Pause: true,
	}, nil
}

// Prepare implements vmm.Driver.
func (d *Driver) Prepare(ctx context.Context, cfg vmm.Config) (vmm.Machine, error) {
	err := cfg.Check()
	if err == nil {
		err = d.o.Fail(ctx, StepPrepare, cfg)
	}
	if err != nil {
		return nil, fmt.Errorf("prepare machine %s: %w", cfg.ID, err)
	}
	return newMachine(d.o, cfg), nil
}
