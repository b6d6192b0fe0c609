package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/cli/terminal"
	"github.com/banger-dev/banger/internal/daemon"
)

func newDaemonRun(a *app) *cobra.Command {
	var (
		readyFD int
		log     daemon.LogOptions
	)
	cmd := &cobra.Command{
		Use: "run", Short: "Run the daemon in the foreground", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if terminal.Is(a.err) {
				log.Also = a.err
			}
			return fail(operation(cmd), "", a.runDaemon(cmd.Context(), readyFD, log))
		},
	}
	cmd.Flags().StringVar(&log.Format, "log-format", "text", "text or json")
	cmd.Flags().BoolVar(&log.Debug, "debug", false, "log more")
	cmd.Flags().IntVar(&readyFD, "ready-fd", 0, "write a line to this descriptor once the daemon serves, or why it does not")
	_ = cmd.Flags().MarkHidden("ready-fd") // the flag exists
	return cmd
}

func (a *app) runDaemon(ctx context.Context, readyFD int, log daemon.LogOptions) (err error) {
	a.signals.yield()
	var ready *os.File
	if readyFD > 2 {
		ready = os.NewFile(uintptr(readyFD), "ready")
		unix.CloseOnExec(readyFD) // shims must not keep it
	}
	report := daemon.NewReport(ready)
	defer func() { err = errors.Join(err, report.Send(err)) }()
	starter, err := a.starter()
	if err != nil {
		return err
	}
	defaults, err := a.defaults()
	if err != nil {
		return err
	}
	if err := starter.Dirs.Make(); err != nil {
		return err
	}
	log.Path = starter.Dirs.DaemonLog()
	logger, file, err := daemon.OpenLog(log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog(file)) }()
	ctx, force, stop := leaveOnSignal(ctx)
	defer stop()
	return a.services.daemon(ctx, force, daemon.Options{
		Dirs: starter.Dirs, Config: defaults, Executable: starter.Executable, Report: report, Log: logger,
	})
}

func closeLog(file io.Closer) error {
	if err := file.Close(); err != nil {
		return fmt.Errorf("close log: %w", err)
	}
	return nil
}

// leaveOnSignal ends the context at the first signal that asks to end, and closes force at the second.
func leaveOnSignal(ctx context.Context) (context.Context, <-chan struct{}, func()) {
	ctx, cancel := context.WithCancel(ctx)
	force, quit := make(chan struct{}), make(chan struct{})
	caught := make(chan os.Signal, 2)
	signal.Notify(caught, unix.SIGINT, unix.SIGTERM)
	go func() {
		insist := sync.OnceFunc(func() { close(force) })
		for asked := false; ; asked = true {
			select {
			case <-caught:
				cancel()
				if asked {
					insist()
				}
			case <-quit:
				return
			}
		}
	}()
	return ctx, force, func() {
		signal.Stop(caught)
		close(quit)
		cancel()
	}
}
