package proc

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
)

func TestParseStart(t *testing.T) {
	const rest = " S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 %START% 9 10"
	tests := map[string]struct {
		stat string
		want uint64
		bad  bool
	}{
		"plain":       {stat: "7 (sleep) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 9 10", want: 4711},
		"odd name":    {stat: "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12 9 10", want: 12},
		"cut short":   {stat: "7 (sleep) S 1 7", bad: true},
		"not numeric": {stat: "7 (sleep)" + rest, bad: true},
		"empty":       {bad: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := parseStart([]byte(tt.stat))
			if (err != nil) != tt.bad || got != tt.want {
				t.Errorf("parseStart = %d, %v; want %d, error %v", got, err, tt.want, tt.bad)
			}
		})
	}
}

func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}

func TestWaitSeesTheEnd(t *testing.T) {
	cmd := sleeper(t)
	p, err := Open(cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := p.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Wait on a living process = %v, want the context's error", err)
	}
	// A second wait is not spoilt by the one that was given up.
	done := make(chan error, 1)
	go func() { done <- p.Wait(t.Context()) }()
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatalf("Wait = %v", err)
	}
}

func TestOpenTellsProcessesApart(t *testing.T) {
	cmd := sleeper(t)
	start, err := StartTime(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(cmd.Process.Pid, start+1); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("Open with another start time = %v, want not found", err)
	}
	if err := Kill(t.Context(), cmd.Process.Pid, start+1); err != nil {
		t.Errorf("Kill of a process that is gone = %v", err)
	}
	if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("Kill hit the process that has taken the pid: %v", err)
	}
	if err := Kill(t.Context(), cmd.Process.Pid, start); err != nil {
		t.Errorf("Kill = %v", err)
	}
	_ = cmd.Wait()
	if _, err := StartTime(cmd.Process.Pid); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("StartTime of a reaped process = %v, want not found", err)
	}
	if uid, err := Owner(os.Getpid()); err != nil || uid != os.Geteuid() {
		t.Errorf("Owner = %d, %v", uid, err)
	}
}
