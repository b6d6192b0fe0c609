package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/cli/terminal"
)

// What a check can find.
const (
	pass = "PASS"
	warn = "WARN"
	bad  = "FAIL"
)

func newDoctor(a *app) *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use: "doctor", Short: "Check this host; exit status 1 when a check fails", Args: cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			checks := a.examine(cmd)
			if f.json {
				if err := printJSON(a.out, checks); err != nil {
					return err
				}
			} else if err := a.printChecks(checks); err != nil {
				return err
			}
			for _, c := range checks {
				if c.Status == bad {
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
	case pass:
		return style.Good(status)
	case warn:
		return style.Doubtful(status)
	}
	return style.Bad(status)
}

// examine asks the daemon for its checks. That it can be asked is the first of them.
func (a *app) examine(cmd *cobra.Command) []api.Check {
	client, err := a.client()
	if err == nil {
		var checks []api.Check
		if checks, err = client.Doctor(cmd.Context()); err == nil {
			return checks
		}
	}
	return []api.Check{{Name: "daemon", Status: bad, Reason: err.Error(), Remedy: hintOf(err)}}
}
