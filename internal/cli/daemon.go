package cli

import "github.com/spf13/cobra"

func newDaemon(a *app) *cobra.Command {
	return newNoun("daemon", "Control the daemon, which otherwise runs by itself on demand",
		newDaemonStart(a), newDaemonStop(a), newDaemonStatus(a), newDaemonRun(a))
}
