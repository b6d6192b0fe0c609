package qemu

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a running VMM.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has been reaped
	err  error         // of Wait; valid after done
	at   time.Time     // when it was reaped; valid after done
}

// environment is what a VMM sees of ours: nothing.
func environment() []string { return []string{"PATH=/usr/bin:/bin", "LC_ALL=C"} }

// spawn starts a program with files as its descriptors 3 and up. It dies with this process.
func spawn(binary, dir string, args []string, files []*os.File, stderr io.Writer) (*process, error) {
	cmd := exec.Command(binary, args...) //nolint:gosec // the binary is the user's choice, the arguments are built here
	cmd.Dir = dir
	cmd.Env = environment()
	cmd.Stderr = stderr
	cmd.ExtraFiles = files
	// Nothing may hold stderr longer than the process: it cannot fork under its sandbox.
	cmd.WaitDelay = time.Second
	// A session of its own keeps terminal signals away from it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL}
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	return p, nil
}

// run starts the process and reaps it. The parent-death signal comes when the starting thread ends, not the process:
// the goroutine keeps its thread until the child is gone.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	err := p.cmd.Start()
	if err == nil {
		err = noCore(p.cmd.Process.Pid)
		if err != nil {
			_ = p.kill()
			_ = p.cmd.Wait()
		}
	}
	started <- err
	if err != nil {
		return
	}
	p.err = p.cmd.Wait()
	p.at = time.Now()
}

// noCore keeps guest memory out of core files.
func noCore(pid int) error {
	err := unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
	if errors.Is(err, unix.ESRCH) {
		return nil // it has ended already; Wait says how
	}
	return os.NewSyscallError("prlimit", err)
}

func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
