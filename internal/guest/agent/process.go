package agent

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/guest/account"
	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/guest/wire"
)

// hangupGrace is how long a process whose client is gone may take to end after SIGHUP.
const hangupGrace = 5 * time.Second

// process is a running command with the agent's ends of its streams.
type process struct {
	cmd    *exec.Cmd
	stdin  *os.File // nil: none
	stdout *os.File // nil when detached
	stderr *os.File // nil: none, or one with stdout
	tty    *os.File // the terminal's master, which then is stdin and stdout too

	mu     sync.Mutex
	reaped bool
}

// start starts the command that req asks for. Its errors are for the client.
func (a *Agent) start(req proto.ExecRequest) (*process, error) {
	cmd, user, err := a.command(req)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: cmd}
	theirs, err := p.connect(req, a.o.Console, user)
	defer closeAll(theirs)
	if err != nil {
		p.close()
		return nil, notStarted(codeFailed, "connect streams: %w", err)
	}
	if err := a.run(cmd); err != nil {
		p.close()
		return nil, startFailure(cmd.Path, err)
	}
	return p, nil
}

// run starts cmd in the control group for commands and without the agent's protection from the OOM killer.
func (a *Agent) run(cmd *exec.Cmd) error {
	if a.o.Cgroup != "" {
		group, err := os.Open(a.o.Cgroup)
		if err != nil {
			return fmt.Errorf("open control group: %w", err)
		}
		defer group.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
	}
	return a.oom.start(cmd.Start)
}

// connect makes the streams. It returns the command's ends, to be closed once it has started.
func (p *process) connect(req proto.ExecRequest, console string, user account.User) (theirs []*os.File, err error) {
	switch {
	case req.Detach:
		out, err := os.OpenFile(console, os.O_WRONLY|unix.O_NOCTTY, 0)
		if err != nil {
			return nil, err
		}
		p.cmd.Stdout, p.cmd.Stderr = out, out
		return []*os.File{out}, nil
	case req.TTY:
		return p.connectTTY(wire.Size{Rows: req.Rows, Cols: req.Cols}, user)
	default:
		return p.connectPipes(req.Stdin)
	}
}

func (p *process) connectPipes(stdin bool) (theirs []*os.File, err error) {
	if stdin {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		p.cmd.Stdin, p.stdin = r, w
		theirs = append(theirs, r)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return theirs, err
	}
	p.cmd.Stdout, p.stdout = w, r
	theirs = append(theirs, w)
	if r, w, err = os.Pipe(); err != nil {
		return theirs, err
	}
	p.cmd.Stderr, p.stderr = w, r
	return append(theirs, w), nil
}

func (p *process) connectTTY(size wire.Size, user account.User) (theirs []*os.File, err error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, err
	}
	p.tty, p.stdin, p.stdout = master, master, master
	theirs = []*os.File{slave}
	if size.Rows == 0 || size.Cols == 0 {
		size = wire.Size{Rows: 24, Cols: 80}
	}
	if err := p.resize(size); err != nil {
		return theirs, err
	}
	// The command's user owns its terminal, so that it can be opened again by name.
	if os.Geteuid() == 0 {
		if err := slave.Chown(int(user.UID), -1); err != nil {
			return theirs, err
		}
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = slave, slave, slave
	p.cmd.SysProcAttr.Setctty = true // its standard input, descriptor 0
	return theirs, nil
}

func (p *process) resize(s wire.Size) error {
	return pty.Setsize(p.tty, &pty.Winsize{Rows: s.Rows, Cols: s.Cols})
}

// wait reaps the process. It is called once.
func (p *process) wait() proto.ExitStatus {
	pid := p.cmd.Process.Pid
	// Waiting comes first and reaping after, under the lock, so that no signal goes to a process group whose number
	// is somebody else's by then.
	for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
		continue
	}
	p.mu.Lock()
	err := p.cmd.Wait()
	p.reaped = true
	p.mu.Unlock()
	if p.cmd.ProcessState == nil {
		return proto.ExitStatus{Code: codeFailed, Error: fmt.Sprintf("wait: %v", err), PID: pid}
	}
	ws, _ := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return proto.ExitStatus{Code: 128 + int(ws.Signal()), Signal: signalName(ws.Signal()), PID: pid}
	}
	return proto.ExitStatus{Code: ws.ExitStatus(), PID: pid}
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return strings.TrimPrefix(name, "SIG")
	}
	return strconv.Itoa(int(s)) // a real-time signal
}

// signal sends s to the process group, unless its leader has ended.
func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = unix.Kill(-p.cmd.Process.Pid, s) // it can only be gone already
	}
}

// close closes the agent's ends. With a terminal, that hangs it up.
func (p *process) close() { closeAll([]*os.File{p.stdin, p.stdout, p.stderr}) }

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close() // a terminal's is closed twice, which is harmless
		}
	}
}
