// Package userns runs programs as root of private namespaces: the caller's user is root there, its subordinate ids are
// the other users, and mounts and processes are seen by nobody else and end with the program. For a caller that is
// root already, only the mounts and processes are private.
package userns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
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
// has started. It is also killed when this process ends. The exported fields mean what those of exec.Cmd do.
type Cmd struct {
	Env            []string
	Dir            string
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	cmd     *exec.Cmd
	command func(name string, args ...string) *exec.Cmd // another, which ends with the same context
	done    chan error
}

// Command prepares a program. When ctx ends it is killed.
func Command(ctx context.Context, name string, args ...string) *Cmd {
	// The shell waits until the ids are mapped: only then is it root, and an exec away from its capabilities.
	wait := []string{"-c", `read -r _ <&3 && exec 3<&- "$@"`, "sh", name}
	c := &Cmd{done: make(chan error, 1)}
	c.command = func(name string, args ...string) *exec.Cmd { return exec.CommandContext(ctx, name, args...) }
	c.cmd = c.command("/bin/sh", append(wait, args...)...)
	c.cmd.WaitDelay = 5 * time.Second // enough to copy what is in a pipe: no process is left to write to it
	return c
}

// Start starts the program. A host that does not allow it is errdefs.ErrUnavailable, with a hint.
func (c *Cmd) Start() error {
	m, err := subordinate()
	if err != nil {
		return err
	}
	c.cmd.Env, c.cmd.Dir, c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = c.Env, c.Dir, c.Stdin, c.Stdout, c.Stderr
	started := make(chan error)
	go func() {
		// The kernel sends Pdeathsig when the thread that started the child ends, so this one is kept until it has.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := c.start(m)
		started <- err
		if err == nil {
			c.done <- c.cmd.Wait()
		}
	}()
	return <-started
}

// Wait returns when the program and all that it started have ended. It is called once after Start.
func (c *Cmd) Wait() error { return <-c.done }

// Kill ends the program and all that it has started. Wait returns soon after. It does nothing after the end.
func (c *Cmd) Kill() error {
	if err := c.cmd.Process.Kill(); !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

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
	c.cmd.ExtraFiles = []*os.File{gate}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   unix.CLONE_NEWPID,
		Unshareflags: unix.CLONE_NEWNS, // makes all mounts private, unlike a clone flag
		Pdeathsig:    unix.SIGKILL,
	}
	if m != nil {
		c.cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		// Ambient capabilities outlive the exec of a shell that is nobody yet. Were they to grow by the exec after
		// that, the kernel would forget Pdeathsig.
		for capability := range uintptr(lastCapability + 1) {
			c.cmd.SysProcAttr.AmbientCaps = append(c.cmd.SysProcAttr.AmbientCaps, capability)
		}
	}
	err = c.cmd.Start()
	_ = gate.Close() // the child has its own
	if err != nil {
		return refused(err)
	}
	if err = m.apply(c.cmd.Process.Pid, c.command); err == nil {
		_, err = open.WriteString("\n")
	}
	if err != nil {
		return errors.Join(err, c.cmd.Process.Kill(), ignoreExit(c.cmd.Wait()))
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

// apply maps the ids of process pid's namespace with the helpers, which it runs by command.
func (m *mapping) apply(pid int, command func(string, ...string) *exec.Cmd) error {
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
		if out, err := command(h.helper, args...).CombinedOutput(); err != nil {
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

// RemoveAll removes a tree as os.RemoveAll does, also when files in it belong to the caller's subordinate users.
func RemoveAll(ctx context.Context, dir string) error {
	err := os.RemoveAll(dir)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	var out strings.Builder
	c := Command(ctx, "rm", "-rf", "--one-file-system", "--", dir)
	c.Stderr = &out
	if e := c.Run(); e != nil {
		return errors.Join(err, fmt.Errorf("remove %s as root of a user namespace: %w: %.200s", dir, e, out.String()))
	}
	return nil
}
