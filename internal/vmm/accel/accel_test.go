package accel

import (
	"context"
	"errors"
	"testing"

	"github.com/banger-dev/banger/internal/errdefs"
)

func TestChooseRefusesUnknownNames(t *testing.T) {
	_, err := Choose(context.Background(), "hax", t.TempDir())
	if !errors.Is(err, errdefs.ErrInvalid) {
		t.Fatalf("got %v, want ErrInvalid", err)
	}
}
func TestProbe(t *testing.T) {
	r := Probe(context.Background(), t.TempDir())
	t.Logf("%+v", r)
}
