package spawn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
)

// Report is the one line that a daemon writes to its ready pipe: it serves, or why it does not.
type Report struct {
	Error *api.Error `json:"error,omitempty"`
}

// readyFD is the descriptor of the pipe in the daemon.
const readyFD = 3

// start starts a daemon in a session of its own and returns when it serves.
func (s *Starter) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTime, fmt.Errorf("not ready after %s", startTime))
	defer cancel()
	ready, report, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start daemon: %w", err)
	}
	defer ready.Close()
	err = s.launch(report)
	_ = report.Close() // the daemon's copy is the last: its end shows on the pipe
	if err != nil {
		return fmt.Errorf("start daemon: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = ready.Close() })()
	var r Report
	switch err := json.NewDecoder(ready).Decode(&r); {
	case err == nil && r.Error == nil:
		return nil
	case err == nil:
		return r.Error
	case ctx.Err() != nil:
		err = context.Cause(ctx)
		fallthrough
	default:
		if errors.Is(err, io.EOF) {
			err = errors.New("it ended before it was ready")
		}
		return errdefs.WithHint(errdefs.New(errdefs.ErrUnavailable, "start daemon: %w", err), "its log is %s", s.Dirs.DaemonLog())
	}
}

func (s *Starter) launch(report *os.File) error {
	output, err := os.OpenFile(s.Dirs.DaemonLog(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer output.Close()
	// Descriptors that we inherited, such as the pipe of a caller who waits for its end, must not live on in the daemon.
	if err := unix.CloseRange(readyFD, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil && !unsupported(err) {
		return fmt.Errorf("close_range: %w", err)
	}
	cmd := exec.Command(s.Executable, "daemon", "run", fmt.Sprintf("--ready-fd=%d", readyFD)) //nolint:noctx // outlives us
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = output, output // what the runtime says when it dies
	cmd.ExtraFiles = []*os.File{report}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // while we live it is our child: leave no zombie
	return nil
}

// unsupported tells that the kernel is older than the call (Linux 5.11).
func unsupported(err error) bool { return errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) }
