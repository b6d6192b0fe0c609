package qemu

import (
	"os"
	"testing"

	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/vmmtest"
)

func TestContract(t *testing.T) {
	vmmtest.RequireVM(t)
	cache := t.TempDir() // one for all, so that KVM is probed once
	vmmtest.Run(t, func(testing.TB) vmm.Driver {
		return New(Options{CacheDir: cache, Accelerator: os.Getenv("BANGER_ACCELERATOR")})
	}, vmmtest.Fixture{Kernel: vmmtest.Kernel(t), Hardware: true})
}
