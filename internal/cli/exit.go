package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
)

// The exit statuses of banger itself. Others are a guest command's own.
const (
	exitOK     = 0
	exitError  = 1
	exitUsage  = 2
	exitBefore = 125 // banger failed before the guest's command ran
	exitPipe   = 128 + int(syscall.SIGPIPE)
)

// failure is an error with the operation and subject that it belongs to and the status to exit with.
type failure struct {
	operation string // "vm stop"
	subject   string // may be empty
	status    int
	err       error
}

func (f *failure) Unwrap() error { return f.err }

// Error is `operation subject: cause`. A cause that begins by naming the subject says that itself.
func (f *failure) Error() string {
	text := f.err.Error()
	if first, _, ok := strings.Cut(text, ": "); ok && f.subject != "" && strings.Contains(first, f.subject) {
		return text
	}
	return join(f.operation, f.subject) + ": " + text
}

// fail puts err under the operation on the subject. Bad usage stays what it is, and nil too.
func fail(operation, subject string, err error) error {
	var usage *usageError
	if err == nil || errors.As(err, &usage) {
		return err
	}
	return &failure{operation: operation, subject: subject, status: exitError, err: err}
}

// usageError is a command line that cannot be right.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// status is an exit without a message, all having been said.
type status int

func (s status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// finish reports err and returns the exit status.
func (a *app) finish(err error) int {
	var said status
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &said):
		return int(said)
	case errors.Is(err, errEnough):
		return exitPipe // whoever read our output has enough
	}
	fmt.Fprint(a.err, describe(err))
	return exitStatus(err)
}

// exitStatus is what banger exits with after err.
func exitStatus(err error) int {
	var (
		usage  *usageError
		signal *interruption
		failed *failure
	)
	switch {
	case errors.As(err, &signal):
		return 128 + int(signal.signal)
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &failed):
		return failed.status
	}
	return exitError
}

// describe is what is printed of an error: what happened, and its remedy.
func describe(err error) string {
	text := "banger: " + printable(err.Error()) + "\n"
	if hint := hintOf(err); hint != "" {
		text += "hint: " + printable(hint) + "\n"
	}
	return text
}

func hintOf(err error) string {
	if hint := errdefs.Hint(err); hint != "" {
		return hint
	}
	var refused *api.Error
	if errors.As(err, &refused) {
		return refused.Hint
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "`banger daemon status` tells whether the daemon answers"
	}
	return ""
}

// printable keeps text of unknown origin from steering the terminal. Line breaks, as in a
// console's last lines, are kept.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || (r >= ' ' && r != 0x7f && (r < 0x80 || r > 0x9f)) {
			return r
		}
		return '?'
	}, strings.TrimRight(text, "\n"))
}
