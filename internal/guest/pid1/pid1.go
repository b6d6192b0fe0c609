// Package pid1 is the init of images that have none: it starts the agent's server and starts it again when it dies,
// reaps what nobody else does, and takes the machine down in order. Everything that may fail is in the server, which is
// a process of its own, so that os/exec there and the reaping here never meet.
package pid1

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Signals to PID 1 that end the machine. systemd has them too, so that the agent needs to know one kind of PID 1 only
// (systemd(1), SIGRTMIN+4 and SIGRTMIN+5). SIGRTMIN is that of the C library.
const (
	Poweroff = syscall.Signal(34 + 4)
	Reboot   = syscall.Signal(34 + 5)
)

// restartDelay keeps a server that dies at once from taking the whole machine.
const restartDelay = 500 * time.Millisecond

// endings are the signals that end the machine: banger's own, and those that the poweroff, halt and reboot commands of
// busybox and the kernel's Ctrl-Alt-Del send.
var endings = map[os.Signal]int{
	Poweroff: unix.LINUX_REBOOT_CMD_POWER_OFF, syscall.SIGUSR1: unix.LINUX_REBOOT_CMD_POWER_OFF,
	syscall.SIGUSR2: unix.LINUX_REBOOT_CMD_POWER_OFF, syscall.SIGPWR: unix.LINUX_REBOOT_CMD_POWER_OFF,
	Reboot: unix.LINUX_REBOOT_CMD_RESTART, syscall.SIGTERM: unix.LINUX_REBOOT_CMD_RESTART,
	syscall.SIGINT: unix.LINUX_REBOOT_CMD_RESTART,
}

// Run is PID 1 from here on. It returns only when the kernel refuses to end the machine.
func Run(log *slog.Logger) error {
	signals := make(chan os.Signal, 64)
	children := make(chan os.Signal, 1) // one is enough: each is a reason to reap all there are
	signal.Notify(children, syscall.SIGCHLD)
	for s := range endings {
		signal.Notify(signals, s)
	}
	for _, err := range setUp() {
		log.Warn("set up the machine", "error", err)
	}
	how := supervise(signals, children, log)
	return takeDown(how, children, log)
}

// supervise keeps a server running until a signal says how to end.
func supervise(signals, children <-chan os.Signal, log *slog.Logger) int {
	start := time.NewTimer(0)
	defer start.Stop()
	server := 0
	for {
		select {
		case s := <-signals:
			return endings[s]
		case <-start.C:
			var err error
			if server, err = startServer(); err != nil {
				log.Error("start the agent", "error", err)
				start.Reset(restartDelay)
			}
		case <-children:
			reap(func(pid int, status syscall.WaitStatus) {
				if pid != server {
					return
				}
				log.Error("agent ended", "status", status.ExitStatus(), "signal", status.Signal())
				server = 0
				start.Reset(restartDelay)
			})
		}
	}
}

// startServer runs this executable, whose file is gone with the initramfs, once more.
func startServer() (int, error) {
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"banger-agent", "serve"}, &syscall.ProcAttr{
		Env:   []string{"HOME=/", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, fmt.Errorf("start the agent's server: %w", err)
	}
	return pid, nil
}

// reap collects every child that has ended and tells whether any are left.
func reap(ended func(pid int, status syscall.WaitStatus)) (left bool) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return false // ECHILD
		case pid == 0:
			return true
		default:
			ended(pid, status)
		}
	}
}
