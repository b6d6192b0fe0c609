// Package spawn connects a client to the daemon of this build, starting one when there is none and replacing one of
// another build. Running VMs are never touched by that.
package spawn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/daemon/flock"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/paths"
	"github.com/banger-dev/banger/internal/unixsock"
)

const (
	// answerTime is how long a daemon that accepts connections may take to say who it is.
	answerTime = 10 * time.Second
	// startTime bounds the start of a daemon, with the time that its predecessor takes to leave.
	startTime = 90 * time.Second
)

// Starter knows how to reach the daemon. Its methods may be called from several goroutines.
type Starter struct {
	Dirs       paths.Dirs
	Executable string // of the daemon
	Build      string // which the daemon must have; see api.Version

	mu    sync.Mutex
	known bool // the daemon that listens has been looked at
}

// Dial connects to the daemon, having started or replaced it where that is needed. It is an api.Dialer.
func (s *Starter) Dial(ctx context.Context) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known {
		conn, err := unixsock.Dial(ctx, s.Dirs.Socket())
		if !Absent(err) {
			return conn, err
		}
	}
	if err := s.ensure(ctx); err != nil {
		return nil, err
	}
	s.known = true
	return unixsock.Dial(ctx, s.Dirs.Socket())
}

// Absent tells whether err says that nobody listens.
func Absent(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}

// ensure returns when a daemon of this build listens. Of several processes that find none, one starts it.
func (s *Starter) ensure(ctx context.Context) error {
	if v, err := s.probe(ctx); err == nil && v.Build == s.Build {
		return nil
	}
	if err := s.Dirs.Make(); err != nil {
		return err
	}
	lock, err := flock.Wait(ctx, filepath.Join(s.Dirs.Runtime, "spawn.lock"))
	if err != nil {
		return fmt.Errorf("start daemon: %w", err)
	}
	defer func() { _ = lock.Release() }()
	v, err := s.probe(ctx)
	switch {
	case err == nil && v.Build == s.Build:
		return nil
	case err == nil:
		if err := s.retire(ctx, v); err != nil {
			return err
		}
	case !Absent(err):
		return err
	}
	return s.start(ctx)
}

// probe asks the daemon that listens who it is.
func (s *Starter) probe(ctx context.Context) (api.Version, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, errSilent)
	defer cancel()
	client := api.New(s.Dirs.Socket())
	defer client.Close()
	v, err := client.Version(ctx)
	if errors.Is(err, errSilent) {
		err = errdefs.WithHint(errdefs.As(errdefs.ErrTimeout, err), "end it with `kill %s` and try again; %s may say more",
			holder(s.Dirs), s.Dirs.DaemonLog())
	}
	return v, err
}

var errSilent = fmt.Errorf("the daemon accepts connections and did not answer within %s", answerTime)

// holder reads the process id of the daemon from its lock.
func holder(dirs paths.Dirs) string {
	pid, err := os.ReadFile(dirs.DaemonLock())
	if err != nil || len(pid) == 0 {
		return "<its process id>"
	}
	return string(pid)
}

// retire asks a daemon of another build to leave. Its successor waits for its lock.
func (s *Starter) retire(ctx context.Context, v api.Version) error {
	client := api.New(s.Dirs.Socket())
	defer client.Close()
	if _, err := client.Shutdown(ctx); err != nil && !Absent(err) {
		return fmt.Errorf("replace the daemon of version %s (process %d): %w", v.Version, v.PID, err)
	}
	return nil
}
