package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/cli/terminal"
	"github.com/banger-dev/banger/internal/daemon"
	"github.com/banger-dev/banger/internal/doctor"
)

func newDoctor(a *app) *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check this host; exit status 1 when a check fails", Args: cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			checks, err := a.examine(cmd.Context())
			if err != nil {
				return fail(operation(cmd), "", err)
			}
			if f.json {
				if err := printJSON(a.out, checks); err != nil {
					return err
				}
			} else if err := a.printChecks(checks); err != nil {
				return err
			}
			for _, c := range checks {
				if c.Status == doctor.Fail {
					return status(exitError)
				}
			}
			return nil
		},
	}
	f.register(cmd, "")
	return cmd
}

func (a *app) printChecks(checks []api.Check) error {
	for _, c := range checks {
		line := fmt.Sprintf("%s  %s: %s\n", verdict(a.style, c.Status), c.Name, printable(c.Reason))
		if c.Remedy != "" {
			line += "      remedy: " + printable(c.Remedy) + "\n"
		}
		if _, err := fmt.Fprint(a.out, line); err != nil {
			return err
		}
	}
	return nil
}

func verdict(style terminal.Style, status string) string {
	switch status {
	case doctor.Pass:
		return style.Good(status)
	case doctor.Warn:
		return style.Doubtful(status)
	}
	return style.Bad(status)
}

// examine asks the daemon for its checks. Without a daemon, which is the worst of what they can find, we make them.
func (a *app) examine(ctx context.Context) ([]api.Check, error) {
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	checks, err := client.Doctor(ctx)
	if err == nil || ctx.Err() != nil {
		return checks, err
	}
	starter, failed := a.starter()
	if failed != nil {
		return nil, failed
	}
	// A configuration that cannot be read is what the daemon complains of, too.
	defaults, _ := a.defaults()
	options := daemon.Options{Dirs: starter.Dirs, Config: defaults, Executable: starter.Executable}
	return daemon.Examine(ctx, options, starter.Build, err), nil
}
