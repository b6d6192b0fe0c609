package shim

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/fake"
)

// stalls is a guest whose kernel stands still in its first n boots.
func stalls(n int32) func(context.Context, fake.Hardware) vmm.Cause {
	var boots atomic.Int32
	return func(ctx context.Context, h fake.Hardware) vmm.Cause {
		if boots.Add(1) <= n {
			<-ctx.Done()
			return vmm.CausePoweroff
		}
		return obedient(ctx, h)
	}
}

func quick(s *control.Spec, _ *Parts) { s.BootTimeout = 600 * time.Millisecond }

func TestKernelThatStallsIsBootedAgain(t *testing.T) {
	r := run(t, stalls(1), quick)
	s := r.running()
	if len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "booted again") {
		t.Errorf("warnings: %q", s.Warnings)
	}
	if _, err := r.client.Stop(t.Context(), 10*time.Second); err != nil {
		t.Error(err)
	}
	if e := r.exit(); e.Reason != "stopped" {
		t.Errorf("exit: %+v", e)
	}
}

func TestKernelThatStallsTwiceFails(t *testing.T) {
	e := run(t, stalls(2), quick).exit()
	if e.Reason != "boot-failed" || !strings.Contains(e.Detail, "not ready within") {
		t.Errorf("exit: %+v", e)
	}
}
