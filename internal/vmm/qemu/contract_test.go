package qemu

import (
	"os"
	"testing"

	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/vmmtest"
)

func TestContract(t *testing.T) {
	vmmtest.RequireVM(t)
	// One cache for all, test binaries that this one runs included, so that KVM is probed once.
	const variable = "BANGER_VMMTEST_CACHE"
	cache := os.Getenv(variable)
	if cache == "" {
		cache = t.TempDir()
		t.Setenv(variable, cache)
	}
	vmmtest.Run(t, func(testing.TB) vmm.Driver {
		return New(Options{CacheDir: cache, Accelerator: os.Getenv("BANGER_ACCELERATOR")})
	}, vmmtest.Fixture{Kernel: vmmtest.Kernel(t), Hardware: true})
}

// BenchmarkBoot is the time from Start to the first line of the guest's init, and what of it passes before QEMU says
// that the guest runs.
func BenchmarkBoot(b *testing.B) {
	vmmtest.RequireVM(b)
	d := New(Options{CacheDir: b.TempDir(), Accelerator: os.Getenv("BANGER_ACCELERATOR")})
	vmmtest.BenchmarkBoot(b, d, vmmtest.Kernel(b))
}
