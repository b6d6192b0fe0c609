package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/daemon/flock"
	"github.com/banger-dev/banger/internal/daemon/spawn"
)

// leaveTime bounds how long a daemon may take to let go of its state.
const leaveTime = 60 * time.Second

func newDaemonStop(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "stop", Short: "Stop the daemon; VMs stay", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			stopped, err := a.stopDaemon(cmd.Context())
			if err != nil {
				return fail(operation(cmd), "", err)
			}
			text := "the daemon does not run"
			if stopped {
				text = "the daemon has stopped; VMs stay"
			}
			_, err = fmt.Fprintln(a.out, text)
			return err
		},
	}
}

// stopDaemon asks a running daemon to leave and waits until it has let go of its state.
func (a *app) stopDaemon(ctx context.Context) (stopped bool, err error) {
	starter, err := a.starter()
	if err != nil {
		return false, err
	}
	client := api.New(starter.Dirs.Socket())
	defer client.Close()
	v, err := client.Shutdown(ctx)
	if spawn.Absent(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, leaveTime, fmt.Errorf("process %d still works after %s", v.PID, leaveTime))
	defer cancel()
	lock, err := flock.Wait(ctx, starter.Dirs.DaemonLock())
	if err != nil {
		return false, err
	}
	return true, lock.Release()
}
