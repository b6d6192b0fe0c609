package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/cli/terminal"
	"github.com/banger-dev/banger/internal/errdefs"
)

// streamFlags say how a command is connected to us.
type streamFlags struct {
	interactive, tty, noTTY bool
}

func (f *streamFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&f.interactive, "interactive", "i", false, "forward standard input; implied unless banger runs in the background")
	cmd.Flags().BoolVarP(&f.tty, "tty", "t", false, "give the command a terminal; implied for a shell on a terminal")
	cmd.Flags().BoolVarP(&f.noTTY, "no-tty", "T", false, "never give it a terminal")
	cmd.MarkFlagsMutuallyExclusive("tty", "no-tty")
}

// Where the terminal's size cannot be known.
const (
	defaultRows = 24
	defaultCols = 80
)

// attach runs a command in a VM, connected to our standard streams, and returns how it ended.
func (a *app) attach(ctx context.Context, client *api.Client, ref string, req api.ExecRequest, f streamFlags, shell bool) (api.ExitStatus, error) {
	ctx, end := context.WithCancel(ctx)
	defer end()
	ours := terminal.Is(a.in)
	req.TTY = !f.noTTY && (f.tty || shell && ours && terminal.Is(os.Stdout))
	// Reading a terminal from the background would stop us.
	req.Stdin = f.interactive || !ours || terminal.Foreground(a.in)
	signals := make(chan string, 16)
	streams := api.Streams{Stdout: a.out, Stderr: a.err, Signals: signals}
	if req.Stdin {
		input, err := terminal.NewInput(ctx, a.in)
		if err != nil {
			return api.ExitStatus{}, err
		}
		defer input.Close()
		streams.Stdin = input
	}
	restore := func() {}
	if req.TTY {
		sizes, stop, err := a.openTerminal(&req, ours && req.Stdin)
		if err != nil {
			return api.ExitStatus{}, err
		}
		streams.Resize, restore = sizes, stop
	}
	defer restore()
	defer a.signals.attach(signals, restore)()
	status, err := client.Exec(ctx, ref, req, streams)
	end() // before input is closed
	return status, err
}

// openTerminal makes our terminal the command's: its size, its type, and, where we read from it, every key.
func (a *app) openTerminal(req *api.ExecRequest, raw bool) (sizes <-chan api.TerminalSize, restore func(), err error) {
	req.Rows, req.Cols = a.size()
	if name := os.Getenv("TERM"); name != "" {
		req.Env = append([]string{"TERM=" + name}, req.Env...)
	}
	var mode *terminal.Raw
	if raw {
		if mode, err = terminal.MakeRaw(a.in); err != nil {
			return nil, nil, err
		}
	}
	changes := make(chan api.TerminalSize, 1)
	stop := terminal.Watch(func(continued bool) {
		if continued && mode != nil {
			mode.Again()
		}
		rows, cols := a.size()
		select {
		case <-changes: // only the last size matters
		default:
		}
		changes <- api.TerminalSize{Rows: rows, Cols: cols}
	})
	return changes, func() {
		stop()
		if mode != nil {
			mode.Restore()
		}
	}, nil
}

// size returns the size of the terminal that the user looks at.
func (a *app) size() (rows, cols uint16) {
	for _, f := range []*os.File{os.Stdout, a.in, a.err} {
		if rows, cols, ok := terminal.Size(f); ok {
			return rows, cols
		}
	}
	return defaultRows, defaultCols
}

// outcome turns the end of a command in a VM into banger's own: its exit status, or why there is none.
func (a *app) outcome(operation, ref string, shell bool, s api.ExitStatus, err error) error {
	switch {
	case errors.Is(err, api.ErrNoExit):
		return before(operation, ref, errdefs.WithHint(err, "`banger vm show %s` tells whether the VM still runs", ref))
	case err != nil:
		return before(operation, ref, err)
	case s.Error != "":
		err := errors.New(s.Error)
		if shell {
			err = errdefs.WithHint(fmt.Errorf("start a shell: %w", err), "name a command that the image has, behind --")
		}
		return &failure{operation: operation, subject: ref, status: s.Code, err: err}
	case s.Code != exitOK:
		return status(s.Code)
	}
	return nil
}

// before marks a failure of banger's own to run a command in a guest.
func before(operation, subject string, err error) error {
	var usage *usageError
	if err == nil || errors.As(err, &usage) {
		return err
	}
	return &failure{operation: operation, subject: subject, status: exitBefore, err: err}
}

// tell writes a remark for the user, which is no error and no output.
func (a *app) tell(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.err, "banger: "+format+"\n", args...)
	}
}
