// Package qemu runs machines in QEMU's microvm machine model, under KVM or in software emulation.
// Everything that talks to QEMU goes over inherited socket pairs: nothing listens and no socket has a name.
package qemu

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/accel"
	"github.com/banger-dev/banger/internal/vmm/hostcache"
	"github.com/banger-dev/banger/internal/vmm/tsc"
)

// DefaultBinary is looked up in PATH when Options.Binary is empty.
const DefaultBinary = "qemu-system-x86_64"

const installHint = "install it: apt-get install qemu-system-x86"

// Options configure a driver.
type Options struct {
	Binary      string // name in PATH or absolute path; empty: DefaultBinary
	Accelerator string // "auto" (also ""), "kvm" or "tcg"
	CacheDir    string // where facts about the host are kept until it reboots; empty: they are found anew each time
}

// Driver makes QEMU machines.
type Driver struct{ o Options }

var _ vmm.Driver = (*Driver)(nil)

// New returns a driver. It looks at nothing yet.
func New(o Options) *Driver {
	if o.Binary == "" {
		o.Binary = DefaultBinary
	}
	return &Driver{o: o}
}

// host is what a driver knows of the host.
type host struct {
	binary  string // absolute
	version version
	accel   accel.Verdict
	tscKHz  int64 // 0: not known
}

// Describe looks at the host. The first call after a reboot may take a second or two, for the accelerator probe.
func (d *Driver) Describe(ctx context.Context) (vmm.Capabilities, error) {
	h, err := d.inspect(ctx)
	if err != nil {
		return vmm.Capabilities{}, err
	}
	return vmm.Capabilities{
		Driver:      "qemu",
		Version:     h.version.String(),
		Accelerator: h.accel.Accelerator,
		Reason:      h.accel.Reason,
		Pause:       true,
	}, nil
}

func (d *Driver) inspect(ctx context.Context) (host, error) {
	binary, err := lookPath(d.o.Binary)
	if err != nil {
		return host{}, err
	}
	h := host{binary: binary}
	if h.version, err = d.version(ctx, binary); err != nil {
		return host{}, err
	}
	if h.accel, err = accel.Choose(ctx, d.o.Accelerator, d.o.CacheDir); err != nil {
		return host{}, err
	}
	if h.accel.Accelerator == accel.TCG {
		// Without the rate the guest calibrates by itself, which mostly works.
		h.tscKHz, _ = hostcache.Get(d.o.CacheDir, "tsc kHz", tsc.KHz)
	}
	return h, nil
}

func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		err = errdefs.New(errdefs.ErrUnavailable, "find qemu: %w", err)
		return "", errdefs.WithHint(err, installHint)
	}
	return path, nil
}

// Prepare checks cfg. It makes nothing: everything that QEMU needs is an argument or an inherited descriptor.
func (d *Driver) Prepare(ctx context.Context, cfg vmm.Config) (vmm.Machine, error) {
	if err := check(cfg); err != nil {
		return nil, fmt.Errorf("prepare machine %s: %w", cfg.ID, err)
	}
	h, err := d.inspect(ctx)
	if err != nil {
		return nil, fmt.Errorf("prepare machine %s: %w", cfg.ID, err)
	}
	return newMachine(h, cfg), nil
}

// maxVCPU is the most CPUs that microvm takes.
const maxVCPU = 288

func check(cfg vmm.Config) error {
	switch {
	case cfg.VCPU > maxVCPU:
		return errdefs.New(errdefs.ErrInvalid, "vcpu %d: must be at most %d", cfg.VCPU, maxVCPU)
	case len(cfg.Disks) > maxDisks:
		return errdefs.New(errdefs.ErrInvalid, "%d disks: must be at most %d", len(cfg.Disks), maxDisks)
	}
	return cfg.Check()
}
