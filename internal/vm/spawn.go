package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/proc"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/unixsock"
)

// readyTime is what a shim gets to serve its socket.
const readyTime = 20 * time.Second

// spawn starts a VM's shim, in a session of its own so that it outlives this process, and waits until it serves.
func (s *Service) spawn(ctx context.Context, id string) (*run, error) {
	dir := s.dir(id)
	ctx, cancel := context.WithTimeoutCause(ctx, readyTime, errdefs.WithHint(
		errdefs.New(errdefs.ErrTimeout, "the shim did not answer within %s", readyTime), "%s may tell why", dir.Log()))
	defer cancel()
	ready, cmd, err := s.exec(dir) //nolint:contextcheck // it does not wait, and what it starts outlives ctx
	if err != nil {
		return nil, fmt.Errorf("run shim: %w", err)
	}
	defer ready.Close()
	pid := cmd.Process.Pid
	start, err := proc.StartTime(pid) // not reaped yet, so it is there
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		if err := cmd.Wait(); err != nil {
			s.log.Warn("shim failed", "vm", id, "pid", pid, "error", err)
		}
	}()
	s.at("start.forked")
	if err == nil {
		err = awaitReady(ctx, ready)
	}
	if err != nil {
		_ = cmd.Process.Kill() // it may have ended by itself
		<-exited
		return nil, fmt.Errorf("run shim: %w", err)
	}
	return newRun(id, dir, control.Process{PID: pid, Start: start}, exited), nil
}

// exec starts the process and returns the pipe that it reports on.
func (s *Service) exec(dir control.Dir) (*os.File, *exec.Cmd, error) {
	l, err := unixsock.Listen(dir.Socket())
	if err != nil {
		return nil, nil, err
	}
	socket, err := unixsock.Detach(l)
	if err != nil {
		return nil, nil, err
	}
	defer socket.Close()
	log, err := os.OpenFile(dir.Log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer log.Close()
	ready, report, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer report.Close()
	argv := append(append([]string{}, s.o.Shim...), "--dir", string(dir))
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // it outlives whoever asked for it
	cmd.Dir = string(dir)
	cmd.Env = environment(os.Environ())
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{control.ReadyFD - 3: report, control.ListenFD - 3: socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		_ = ready.Close()
		return nil, nil, err
	}
	return ready, cmd, nil
}

// awaitReady reads the shim's one line.
func awaitReady(ctx context.Context, pipe *os.File) error {
	stop := context.AfterFunc(ctx, func() { _ = pipe.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var r control.Ready
	if err := json.NewDecoder(pipe).Decode(&r); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return errors.Join(errors.New("it ended before it served"), err)
	}
	if !r.OK {
		return control.Unpack(r.Error)
	}
	return nil
}

// environment keeps of env what a shim and a VMM need, so that what the user's shell happened to hold when the daemon
// was started does not live on in processes that stay for months.
func environment(env []string) []string {
	var kept []string
	for _, e := range env {
		key, _, _ := strings.Cut(e, "=")
		switch {
		case key == "PATH", key == "HOME", key == "USER", key == "TMPDIR", key == "LANG", key == "TZ", key == "GOCOVERDIR",
			strings.HasPrefix(key, "XDG_"), strings.HasPrefix(key, "BANGER_"):
			kept = append(kept, e)
		}
	}
	return kept
}
