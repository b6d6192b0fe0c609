package vm

import (
	"context"
	"os"
	"testing"

	"github.com/banger-dev/banger/api"
)

// A create that is given up, wherever it has come to, removes its own VM and nothing of another's.
func TestCancelledCreateTouchesNothingElse(t *testing.T) {
	for _, point := range []string{"create.recorded", "create.disks"} {
		t.Run(point, func(t *testing.T) {
			h := newHome(t)
			ctx, cancel := context.WithCancel(t.Context())
			armed := false
			s, _ := h.service(t, func(o *Options) {
				o.At = func(at string) {
					if armed && at == point {
						cancel()
					}
				}
			})
			other, err := s.Create(t.Context(), api.VMSpec{Name: "other"})
			if err != nil {
				t.Fatal(err)
			}
			armed = true
			if _, err := s.Create(ctx, api.VMSpec{Name: "given-up"}); err == nil {
				t.Fatal("a create that was given up succeeded")
			}
			if _, err := os.Stat(s.dir(other.ID).Overlay()); err != nil {
				t.Error(err)
			}
			if vms, err := s.List(t.Context()); err != nil || len(vms) != 1 {
				t.Errorf("%d vms, %v", len(vms), err)
			}
			h.clean(t, s)
		})
	}
}
