// Package userns runs programs as root of private namespaces: the caller's user is root there, its subordinate ids are
// the other users, and mounts and processes are seen by nobody else and end with the program. For a caller that is
// root already, only the mounts and processes are private.
package userns

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/errdefs"
)

// ids is how many users and groups a Debian system may have, root's not counted.
const ids = 65535

// lastCapability is CAP_CHECKPOINT_RESTORE (linux/capability.h). Later ones are not needed here.
const lastCapability = 40

// Cmd is a program that runs as process 1 of its namespaces: when it ends, or is killed, the kernel kills all that it
// has started. It is also killed when this process ends.
type Cmd struct {
	*exec.Cmd
	done chan error
}

// Command prepares a program. When ctx ends it is killed. Its fields may be set as those of an exec.Cmd, but for
// ExtraFiles and SysProcAttr; pipes of the exec package may not be used, as Wait is already running.
func Command(ctx context.Context, name string, args ...string) *Cmd {
	// The shell waits until the ids are mapped: only then is it root, and an exec away from its capabilities.
	wait := []string{"-c", `read -r _ <&3 && exec 3<&- "$@"`, "sh", name}
	c := &Cmd{Cmd: exec.CommandContext(ctx, "/bin/sh", append(wait, args...)...), done: make(chan error, 1)}
	c.WaitDelay = 5 * time.Second // no more than to copy what is in a pipe: no process is left to write to it
	return c
}

// Start starts the program. A host that does not allow it is errdefs.ErrUnavailable, with a hint.
func (c *Cmd) Start() error {
	m, err := subordinate()
	if err != nil {
		return err
	}
	started := make(chan error)
	go func() {
		// The kernel sends Pdeathsig when the thread that started the child ends, so this one is kept until it has.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.start(m)
		started <- err
		if err == nil {
			c.done <- c.Cmd.Wait()
		}
	}()
	return <-started
}

// Wait returns when the program and all that it started have ended. It is called once after Start.
func (c *Cmd) Wait() error { return <-c.done }

// Run starts the program and waits for it.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

func (c *Cmd) start(m *mapping) error {
	gate, open, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = open.Close() }() // closing it unused ends the shell
	c.ExtraFiles = []*os.File{gate}
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   unix.CLONE_NEWPID,
		Unshareflags: unix.CLONE_NEWNS, // makes all mounts private, unlike a clone flag
		Pdeathsig:    unix.SIGKILL,
	}
	if m != nil {
		c.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		// Ambient capabilities outlive the exec of a shell that is nobody yet. Were they to grow by the exec after
		// that, the kernel would forget Pdeathsig.
		for capability := range uintptr(lastCapability + 1) {
			c.SysProcAttr.AmbientCaps = append(c.SysProcAttr.AmbientCaps, capability)
		}
	}
	err = c.Cmd.Start()
	_ = gate.Close() // the child has its own
	if err != nil {
		return refused(err)
	}
	if err = m.apply(c.Process.Pid); err == nil {
		_, err = open.WriteString("\n")
	}
	if err != nil {
		return errors.Join(err, c.Process.Kill(), ignoreExit(c.Cmd.Wait()))
	}
	return nil
}

// ignoreExit drops the status of a process that was killed on purpose.
func ignoreExit(err error) error {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return nil
	}
	return err
}

// refused explains a kernel that does not make namespaces.
func refused(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EUSERS) {
		return errdefs.WithHint(errdefs.New(errdefs.ErrUnavailable, "make a user namespace: %w", err),
			"allow them with sysctl: user.max_user_namespaces > 0, kernel.unprivileged_userns_clone=1, "+
				"kernel.apparmor_restrict_unprivileged_userns=0, whichever of these this kernel has")
	}
	return err
}

// mapping is how the ids of a namespace are those of the host: 0 is the caller, the rest are subordinate ranges.
type mapping struct {
	newuidmap, newgidmap string // setuid helpers of the uidmap package
	uids, gids           subRange
}

// apply maps the ids of process pid's namespace.
func (m *mapping) apply(pid int) error {
	if m == nil {
		return nil
	}
	for _, h := range []struct {
		helper string
		self   int
		sub    subRange
	}{{m.newuidmap, os.Geteuid(), m.uids}, {m.newgidmap, os.Getegid(), m.gids}} {
		args := []string{
			strconv.Itoa(pid), "0", strconv.Itoa(h.self), "1",
			"1", strconv.FormatUint(h.sub.start, 10), strconv.Itoa(ids),
		}
		if out, err := exec.Command(h.helper, args...).CombinedOutput(); err != nil {
			return errdefs.New(errdefs.ErrUnavailable, "map ids with %s: %w: %.200s", h.helper, err, out)
		}
	}
	return nil
}

// Check returns errdefs.ErrUnavailable, with a hint, when programs cannot be run here.
func Check(ctx context.Context) error {
	if err := Command(ctx, "true").Run(); err != nil {
		return fmt.Errorf("run as root of a user namespace: %w", err)
	}
	return nil
}
