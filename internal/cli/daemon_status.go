package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/daemon/spawn"
)

// answerTime is how long a daemon may take to say that it is there.
const answerTime = 10 * time.Second

func newDaemonStatus(a *app) *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use: "status", Short: "Tell whether the daemon runs; exit status 1 when it does not", Args: cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			starter, err := a.starter()
			if err != nil {
				return fail(operation(cmd), "", err)
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), answerTime, fmt.Errorf("no answer within %s", answerTime))
			defer cancel()
			v, err := api.New(starter.Dirs.Socket()).Version(ctx)
			if spawn.Absent(err) {
				fmt.Fprintln(a.err, "the daemon does not run; any command that needs it starts it")
				return status(exitError)
			}
			switch {
			case err != nil:
				return fail(operation(cmd), "", err)
			case f.json:
				return printJSON(a.out, v)
			}
			return fields(a.out,
				[2]string{"pid", fmt.Sprint(v.PID)},
				[2]string{"version", v.Version},
				[2]string{"build", buildCell(v.Build, starter.Build)},
				[2]string{"started", age(v.StartedAt)},
				[2]string{"socket", v.Socket},
				[2]string{"state", v.StateDir},
				[2]string{"log", starter.Dirs.DaemonLog()},
			)
		},
	}
	f.register(cmd, "")
	return cmd
}

func buildCell(daemon, ours string) string {
	short := fmt.Sprintf("%.12s", daemon)
	if daemon != ours {
		short += " (not this banger's: the next command replaces it)"
	}
	return short
}
