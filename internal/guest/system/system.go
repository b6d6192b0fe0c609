// Package system gives the running machine its identity and ends it. Everything here is for root in a guest.
package system

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/guest/pid1"
	"github.com/banger-dev/banger/internal/guest/proto"
)

// System is the machine that this process runs in.
type System struct {
	// Init is the name of what PID 1 is, as in proto.Info.
	Init string
}

// Apply makes the machine what id says. It is idempotent. It goes on after an error, as far as that makes sense, and
// returns all of them.
func (s System) Apply(ctx context.Context, id proto.Identity) error {
	var errs []error
	try := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	try("set clock", setClock(id.Time))
	try("add entropy", addEntropy(id.Entropy))
	try("set hostname", setHostname(id.Hostname))
	if id.Network != nil {
		try("set up network", setNetwork(*id.Network))
	}
	if id.WorkDisk {
		try("mount work disk", mountWorkDisk(ctx))
	}
	return errors.Join(errs...)
}

func setClock(t time.Time) error {
	if t.IsZero() {
		return nil
	}
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	return unix.ClockSettime(unix.CLOCK_REALTIME, &ts)
}

// poolInfo is struct rand_pool_info of random(4), with the largest seed that is taken.
type poolInfo struct {
	bits int32
	size int32
	buf  [256]byte
}

// addEntropy mixes seed into the kernel's pool and credits all of its bits.
func addEntropy(seed []byte) error {
	if len(seed) == 0 {
		return nil
	}
	var p poolInfo
	n := copy(p.buf[:], seed)
	p.bits, p.size = int32(n*8), int32(n)
	fd, err := unix.Open("/dev/urandom", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	//nolint:gosec // the ioctl takes a pointer to the structure
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.RNDADDENTROPY, uintptr(unsafe.Pointer(&p))); errno != 0 {
		return errno
	}
	// After a clone, two machines have the same generator: it must take the new seed now, not later.
	if err := unix.IoctlSetInt(fd, unix.RNDRESEEDCRNG, 0); err != nil && !errors.Is(err, unix.ENODATA) {
		return fmt.Errorf("reseed: %w", err)
	}
	return nil
}

// Shutdown asks PID 1 to end the machine.
func (s System) Shutdown(ctx context.Context, r proto.ShutdownRequest) error {
	sig, command := pid1.Poweroff, "poweroff"
	if r.Reboot {
		sig, command = pid1.Reboot, "reboot"
	}
	if s.Init == "agent" || s.Init == "systemd" {
		return unix.Kill(1, sig)
	}
	// The others agree on nothing but the names of these commands.
	if out, err := exec.CommandContext(context.WithoutCancel(ctx), command).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, out)
	}
	return nil
}
