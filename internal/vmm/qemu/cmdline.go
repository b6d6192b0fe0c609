package qemu

import (
	"fmt"
	"strings"

	"github.com/banger-dev/banger/internal/vmm/accel"
)

// assumedHZ is the kernel's timer frequency that lpj is computed for: Debian's and Ubuntu's. No kernel image tells its own.
// On a kernel with a higher one (300, 1000) delays by lpj become longer, which is safe; x86 distributions have no lower one.
const assumedHZ = 250

// commandLine adds to the caller's arguments what this machine model needs. The caller's come last, so they win.
func commandLine(h host, extra string) string {
	args := []string{
		"console=ttyS0", "quiet",
		"panic=-1", "reboot=t", // a panic, like any reboot, is a triple fault: the one reset that needs no device
		// The kernel's self-tests of its ciphers are a tenth of a boot in emulation, half of the instructions before init.
		"cryptomgr.notests",
	}
	if h.accel.Accelerator == accel.TCG && h.tscKHz > 0 {
		// In emulation the guest's counter is the host's. Told its rate, the kernel skips a calibration against the PIT
		// that fails on a loaded host, after which it hangs. The other CPUs take their delay loop from lpj.
		args = append(args,
			fmt.Sprintf("tsc_early_khz=%d", h.tscKHz), fmt.Sprintf("lpj=%d", h.tscKHz*1000/assumedHZ),
			"tsc=reliable", "no_timer_check")
	}
	if extra != "" {
		args = append(args, extra)
	}
	return strings.Join(args, " ")
}
