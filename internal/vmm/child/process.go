// Package child runs the processes of VMMs: each dies with this process, can be killed at any time, is reaped at once,
// and is connected by socket pairs only.
package child

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

// Process is a running child, or one that has ended.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
	at   time.Time
}

// Spec says what to run.
type Spec struct {
	Binary string   // absolute, or found in PATH
	Args   []string // without the program's name
	Dir    string   // working directory
	Files  []*os.File
	Stderr io.Writer
}

// FirstFD is the number of Spec.Files[0] in the child.
const FirstFD = 3

// Environment is what children see of ours: nothing.
func Environment() []string { return []string{"PATH=/usr/bin:/bin", "LC_ALL=C"} }

// Spawn starts a process with s.Files as its descriptors FirstFD and up. It dies with this process, is in a session of
// its own, and leaves no core file.
func Spawn(s Spec) (*Process, error) {
	cmd := exec.Command(s.Binary, s.Args...) //nolint:noctx // built by drivers; it ends by Kill, not by a context
	cmd.Dir = s.Dir
	cmd.Env = Environment()
	cmd.Stderr = s.Stderr
	cmd.ExtraFiles = s.Files
	cmd.WaitDelay = time.Second // should a grandchild hold stderr
	// A session of its own keeps terminal signals away from it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL}
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Binary, err)
	}
	return p, nil
}

// run starts the process and reaps it. The parent-death signal comes when the starting thread ends, not the process:
// the goroutine keeps its thread until the child is gone.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	err := p.cmd.Start()
	if err == nil {
		if err = noCore(p.cmd.Process.Pid); err != nil {
			_ = p.Kill()
			_ = p.cmd.Wait() // err says what happened
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

// PID is the process id. It may be another process's once Done is closed.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process has been reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err is how the process ended: nil for exit status 0. Valid after Done is closed.
func (p *Process) Err() error { return p.err }

// Ended is when the process was reaped. Valid after Done is closed.
func (p *Process) Ended() time.Time { return p.at }

// Signal is the signal that ended the process, 0 if none did. Valid after Done is closed.
func (p *Process) Signal() syscall.Signal {
	var exit *exec.ExitError
	if !errors.As(p.err, &exit) {
		return 0
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return status.Signal()
	}
	return 0
}

// Kill sends SIGKILL. A process that has ended is none to complain about.
func (p *Process) Kill() error {
	err := p.cmd.Process.Kill()
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
