package accel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	device = "/dev/kvm"

	// childName, as the program's name, makes any binary that links this package the probe's child.
	childName = "banger-kvm-probe"

	// The child may use cpuLimit seconds of CPU time, so that a busy host does not look like a slow one; setting a
	// machine up takes a quarter of a second inside an emulated computer. By the clock it may take wallLimit.
	cpuLimit  = 2
	wallLimit = 15 * time.Second

	noHint = "software emulation is used; it is slower, and works the same"
)

// The guest has to run in another process: a KVM that does not give the CPU back can only be killed. It has to be this
// program, as no other is at hand, and it has to be decided before main, so that no program needs to know of it.
func init() {
	if len(os.Args) > 0 && os.Args[0] == childName {
		os.Exit(child())
	}
}

// child runs the guest. Its output is how long that took, or the reason of a failure.
func child() int {
	limit := unix.Rlimit{Cur: cpuLimit, Max: cpuLimit} // at the hard limit the kernel kills
	err := unix.Setrlimit(unix.RLIMIT_CPU, &limit)
	start := time.Now()
	if err == nil {
		err = runGuest()
	}
	// Without a reader nobody waits for the output.
	if err != nil {
		_, _ = os.Stdout.WriteString(err.Error())
		return 1
	}
	_, _ = os.Stdout.WriteString(time.Since(start).String())
	return 0
}

// openable reports whether there is a KVM that this user may open; if not, the result says why.
func openable(device string) (Result, bool) {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err == nil {
		_ = f.Close()
		return Result{}, true
	}
	r := Result{Reason: err.Error(), Hint: noHint}
	switch {
	case errors.Is(err, os.ErrNotExist):
		r.Reason = "there is no " + device
		r.Hint = "enable virtualization in the firmware, or nested virtualization on the hypervisor, and load kvm_amd or kvm_intel"
	case errors.Is(err, os.ErrPermission):
		r.Reason = "no permission to open " + device
		r.Hint = "join the group kvm (sudo usermod -aG kvm $USER) and log in again"
	}
	return r, false
}

// probe runs the child. Its error says that nothing was found out.
func probe(ctx context.Context) (Result, error) {
	limited, cancel := context.WithTimeout(ctx, wallLimit)
	defer cancel()
	cmd := exec.CommandContext(limited, "/proc/self/exe")
	cmd.Args = []string{childName}
	cmd.Env = []string{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	cmd.WaitDelay = time.Second
	var output bytes.Buffer
	cmd.Stdout = &output
	err := cmd.Run()
	if ctx.Err() != nil {
		return Result{}, ctx.Err()
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		took, err := time.ParseDuration(output.String())
		return Result{Works: true, Took: took}, err
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		return Result{Reason: "KVM does not run guests: " + strings.TrimSpace(output.String()), Hint: noHint}, nil
	case errors.As(err, &exit):
		return Result{Reason: fmt.Sprintf("KVM runs guest code far too slowly: %s were not enough for some milliseconds' work",
			cpuLimit*time.Second), Hint: noHint}, nil
	}
	return Result{}, fmt.Errorf("start the kvm probe: %w", err)
}
