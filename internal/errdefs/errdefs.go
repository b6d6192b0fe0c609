// Package errdefs names the conditions that callers of banger's services tell apart.
// A service returns an error of one class; the class is tested with [errors.Is] and is turned into an
// HTTP status and a process exit status at the edges only.
package errdefs

import (
	"errors"
	"fmt"
)

// The classes. An error of no class is an internal fault.
var (
	ErrInvalid     = errors.New("invalid")     // the request cannot be right, whatever the state
	ErrNotFound    = errors.New("not found")   // the subject does not exist
	ErrAmbiguous   = errors.New("ambiguous")   // the reference matches several subjects
	ErrExists      = errors.New("exists")      // the name is taken
	ErrInUse       = errors.New("in use")      // something else still needs the subject
	ErrState       = errors.New("wrong state") // the subject is not in a state that allows the operation
	ErrUnavailable = errors.New("unavailable") // a part of the host that is needed is missing or refuses
	ErrExhausted   = errors.New("exhausted")   // no space, memory or address is left
	ErrTimeout     = errors.New("timed out")   // it took longer than its bound
)

type classified struct {
	class error
	err   error
}

func (e *classified) Error() string   { return e.err.Error() }
func (e *classified) Unwrap() []error { return []error{e.err, e.class} }

// New returns an error of the given class whose text is only the formatted message. The verb %w works.
func New(class error, format string, args ...any) error {
	return &classified{class: class, err: fmt.Errorf(format, args...)}
}

// As puts err, whose text stays as it is, into class. As(class, nil) is nil.
func As(class, err error) error {
	if err == nil {
		return nil
	}
	return &classified{class: class, err: err}
}

type hinted struct {
	err  error
	hint string
}

func (e *hinted) Error() string { return e.err.Error() }
func (e *hinted) Unwrap() error { return e.err }

// WithHint attaches a remedy, a sentence that tells the user what to do. The outermost hint wins.
func WithHint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hinted{err: err, hint: fmt.Sprintf(format, args...)}
}

// Hint returns the remedy attached to err, or "".
func Hint(err error) string {
	var h *hinted
	if errors.As(err, &h) {
		return h.hint
	}
	return ""
}

// Class returns the class of err, or nil for an internal fault.
func Class(err error) error {
	for _, class := range []error{
		ErrInvalid, ErrNotFound, ErrAmbiguous, ErrExists, ErrInUse, ErrState, ErrUnavailable, ErrExhausted, ErrTimeout,
	} {
		if errors.Is(err, class) {
			return class
		}
	}
	return nil
}
