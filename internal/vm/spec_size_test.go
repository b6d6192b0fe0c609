package vm

import (
	"testing"

	"github.com/banger-dev/banger/api"
)

// Sizes are told in the units in which they are given.
func TestSizeOutOfBounds(t *testing.T) {
	spec := api.VMSpec{VCPU: 1, Memory: 10 << 20, DiskSize: 1 << 30, OverlaySize: 1 << 30, Net: "none"}
	const want = "memory 10MiB is not between 64MiB and 16TiB"
	if err := validate(spec); err == nil || err.Error() != want {
		t.Errorf("validate = %v, want %s", err, want)
	}
}
