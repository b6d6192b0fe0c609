// Package accel finds out whether this host can run guests under KVM. That /dev/kvm exists, and even that it opens and
// makes virtual CPUs, proves nothing: some hosts run guest code behind it a thousand times too slowly.
package accel

import (
	"context"
	"fmt"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/vmm/hostcache"
)

// The accelerators.
const (
	KVM  = "kvm"
	TCG  = "tcg"
	Auto = "auto" // KVM where it works
)

// Verdict is the accelerator to use and why.
type Verdict struct {
	Accelerator string // KVM or TCG
	Reason      string // a sentence
}

// Choose decides which accelerator to use. The probe's result is kept in cacheDir until the host reboots.
// A wanted KVM that does not work is errdefs.ErrUnavailable.
func Choose(ctx context.Context, want, cacheDir string) (Verdict, error) {
	switch want {
	case TCG:
		return Verdict{TCG, "software emulation was asked for"}, nil
	case KVM, Auto, "":
	default:
		return Verdict{}, errdefs.New(errdefs.ErrInvalid, "accelerator %q: must be auto, kvm or tcg", want)
	}
	r := Probe(ctx, cacheDir)
	switch {
	case ctx.Err() != nil:
		return Verdict{}, fmt.Errorf("probe kvm: %w", ctx.Err())
	case r.Works:
		return Verdict{KVM, "KVM runs guest code: the probe took " + r.Took.Round(time.Millisecond).String()}, nil
	case want == KVM:
		return Verdict{}, errdefs.WithHint(errdefs.New(errdefs.ErrUnavailable, "use kvm: %s", r.Reason), "%s", r.Hint)
	}
	return Verdict{TCG, r.Reason}, nil
}

// Result is what the probe of KVM found.
type Result struct {
	Works  bool
	Reason string        // a sentence; empty when it works
	Hint   string        // a remedy; empty when there is none
	Took   time.Duration // of the guest, when it works
}

// Probe runs a small guest under KVM in a process of its own, for a second at most.
func Probe(ctx context.Context, cacheDir string) Result {
	early, ok := openable(device)
	if !ok {
		return early // costs nothing, and changes when the user joins a group
	}
	r, err := hostcache.Get(cacheDir, "kvm probe 2", func() (Result, error) { return probe(ctx) })
	if err != nil {
		return Result{Reason: err.Error(), Hint: noHint}
	}
	return r
}
