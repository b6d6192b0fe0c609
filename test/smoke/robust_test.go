//go:build smoke

package smoke

import (
	"errors"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/api"
)

// kill9 kills a process that banger reported as its own.
func kill9(t *testing.T, pid int) {
	t.Helper()
	if pid <= 1 {
		t.Fatalf("no process to kill: pid %d", pid)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
}

// awaitEnd waits for a process that has been killed: the kernel still has its memory to free.
func awaitEnd(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
	if err == nil && n == 0 {
		err = errors.New("it still runs after 10 s")
	}
	return err
}

// daemonPID asks the running daemon.
func (b *banger) daemonPID() int {
	b.t.Helper()
	for _, line := range strings.Split(b.ok("daemon", "status"), "\n") {
		if fields := strings.Fields(line); len(fields) == 2 && strings.EqualFold(strings.Trim(fields[0], ":"), "pid") {
			pid, err := strconv.Atoi(fields[1])
			if err != nil {
				b.t.Fatal(err)
			}
			return pid
		}
	}
	b.t.Fatal("daemon status has no pid")
	return 0
}

func daemonKillKeepsVM(t *testing.T, b *banger) {
	vm := b.vm()
	before := b.show(vm)
	bootID := b.ok("vm", "exec", vm, "--", "cat", "/proc/sys/kernel/random/boot_id")
	kill9(t, b.daemonPID())
	after := b.show(vm) // starts a new daemon, which finds the shim again
	if after.State != api.StateRunning || after.VMMPID != before.VMMPID || after.ShimPID != before.ShimPID {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	if now := b.ok("vm", "exec", vm, "--", "cat", "/proc/sys/kernel/random/boot_id"); now != bootID {
		t.Error("the VM was restarted")
	}
	b.ok("daemon", "stop")
	if now := b.ok("vm", "exec", vm, "--", "cat", "/proc/sys/kernel/random/boot_id"); now != bootID {
		t.Error("stopping the daemon restarted the VM")
	}
}

func shimKill(t *testing.T, b *banger) {
	vm := b.vm()
	running := b.show(vm)
	kill9(t, running.ShimPID)
	if got := b.eventually(vm, api.StateFailed); got.Exit == nil || got.Exit.Reason != "shim-lost" {
		t.Errorf("exit %+v", got.Exit)
	}
	if err := awaitEnd(running.VMMPID); err != nil {
		t.Errorf("the VMM outlived its shim: %v", err)
	}
	b.ok("vm", "start", vm)
	b.ok("vm", "exec", vm, "--", "true")
}

func vmmKill(t *testing.T, b *banger) {
	vm := b.vm()
	kill9(t, b.show(vm).VMMPID)
	got := b.eventually(vm, api.StateFailed)
	if got.Exit == nil || got.Exit.Reason != "crashed" || len(got.Exit.Console) == 0 {
		t.Errorf("exit %+v", got.Exit)
	}
	b.fails(125, []string{vm}, "vm", "exec", vm, "--", "true")
	b.ok("vm", "start", vm)
	b.ok("vm", "exec", vm, "--", "true")
}
