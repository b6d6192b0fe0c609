// Package proc knows other processes by more than their number: a pid is reused, a pid with its start time is not,
// and a pidfd is neither.
package proc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/errdefs"
)

// StartTime returns when process pid started, in clock ticks since the host booted (field 22 of /proc/PID/stat, proc(5)).
// A process that does not exist is errdefs.ErrNotFound.
func StartTime(pid int) (uint64, error) {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return 0, gone(pid)
	}
	if err != nil {
		return 0, fmt.Errorf("read start time of process %d: %w", pid, err)
	}
	start, err := parseStart(stat)
	if err != nil {
		return 0, fmt.Errorf("read start time of process %d: %w", pid, err)
	}
	return start, nil
}

// parseStart finds field 22. The second field is the program's name, which may hold spaces and parentheses.
func parseStart(stat []byte) (uint64, error) {
	const afterName = 22 - 3 // the first field behind the name is the third
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= afterName {
		return 0, errors.New("too few fields")
	}
	return strconv.ParseUint(string(fields[afterName]), 10, 64)
}

// Process is a handle of one process, which stays right when the pid is reused.
type Process struct {
	PID   int
	Start uint64 // as StartTime returns it
	pidfd *os.File
}

// Open returns a handle of process pid, which must have started at start; 0 stands for any time. One that is gone is
// errdefs.ErrNotFound; one that has ended and was not reaped can still be opened. The caller closes the handle.
func Open(pid int, start uint64) (*Process, error) {
	if pid <= 0 {
		return nil, errdefs.New(errdefs.ErrInvalid, "open process %d: no process has this id", pid)
	}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil, gone(pid)
	}
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	p := &Process{PID: pid, pidfd: os.NewFile(uintptr(fd), "pidfd")}
	// The time is read with the handle held: were it that of a later process with this pid, it would be a later time.
	if p.Start, err = StartTime(pid); err == nil && start != 0 && p.Start != start {
		err = gone(pid)
	}
	if err != nil {
		_ = p.Close()
		return nil, err
	}
	return p, nil
}

// Wait returns nil when the process has ended, or ctx's error when that comes first.
func (p *Process) Wait(ctx context.Context) error {
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return fmt.Errorf("wait for process %d: %w", p.PID, err)
	}
	if err := p.pidfd.SetReadDeadline(time.Time{}); err != nil { // an earlier wait may have been given up
		return fmt.Errorf("wait for process %d: %w", p.PID, err)
	}
	stop := context.AfterFunc(ctx, func() {
		_ = p.pidfd.SetReadDeadline(time.Unix(1, 0)) // fails only when it is closed, which ends the wait as well
	})
	defer stop()
	err = raw.Read(func(fd uintptr) bool { return ended(int(fd)) })
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("wait for process %d: %w", p.PID, err)
	}
	return nil
}

// ended tells whether the process of a pidfd has ended: its pidfd is readable then (pidfd_open(2)).
func ended(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}

// Signal sends sig. A process that has ended is no error.
func (p *Process) Signal(sig syscall.Signal) error {
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}
	var sent error
	if err := raw.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return fmt.Errorf("signal process %d: %w", p.PID, err)
	}
	if sent != nil && !errors.Is(sent, unix.ESRCH) {
		return fmt.Errorf("signal process %d: %w", p.PID, sent)
	}
	return nil
}

// Close gives the handle up. The process goes on.
func (p *Process) Close() error { return p.pidfd.Close() }

// Owner returns the user that process pid runs as.
func Owner(pid int) (uid int, err error) {
	info, err := os.Stat("/proc/" + strconv.Itoa(pid))
	if errors.Is(err, os.ErrNotExist) {
		return 0, gone(pid)
	}
	if err != nil {
		return 0, fmt.Errorf("look at process %d: %w", pid, err)
	}
	return int(info.Sys().(*syscall.Stat_t).Uid), nil
}

// Kill ends process pid if it is still the one that started at start, and waits until it has ended.
// One that is gone already is no error.
func Kill(ctx context.Context, pid int, start uint64) error {
	p, err := Open(pid, start)
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.Close()
	if err := p.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	return p.Wait(ctx)
}

// BootID returns the id that the host's kernel made up when it booted.
func BootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the host's boot id: %w", err)
	}
	return string(bytes.TrimSpace(id)), nil
}

func gone(pid int) error { return errdefs.New(errdefs.ErrNotFound, "process %d is gone", pid) }
