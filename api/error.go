package api

import (
	"context"
	"net/http"

	"github.com/banger-dev/banger/internal/errdefs"
)

// Error is the body of every answer that is not a success, as application/problem+json (RFC 9457).
type Error struct {
	Status    int    `json:"status"`
	Title     string `json:"title"`
	Code      Code   `json:"code" enum:"invalid,not-found,ambiguous,exists,in-use,wrong-state,unavailable,exhausted,timed-out,cancelled,internal"`
	Detail    string `json:"detail" doc:"operation, subject and cause"`
	Hint      string `json:"hint,omitempty" doc:"the remedy"`
	Operation string `json:"operation,omitempty" doc:"operation id, also in the daemon's log"`
}

// Code tells conditions apart. It is stable, the text of an error is not.
type Code string

// The codes.
const (
	CodeInvalid     Code = "invalid"     // the request cannot be right, whatever the state
	CodeNotFound    Code = "not-found"   // the subject does not exist
	CodeAmbiguous   Code = "ambiguous"   // the reference matches several subjects
	CodeExists      Code = "exists"      // the name is taken
	CodeInUse       Code = "in-use"      // something else still needs the subject
	CodeState       Code = "wrong-state" // the subject is not in a state that allows the operation
	CodeUnavailable Code = "unavailable" // a part of the host that is needed is missing or refuses
	CodeExhausted   Code = "exhausted"   // no space, memory or address is left
	CodeTimeout     Code = "timed-out"   // it took longer than its bound
	CodeCancelled   Code = "cancelled"   // the caller gave up
	CodeInternal    Code = "internal"    // a fault in banger
)

// StatusCancelled is the HTTP status of an operation that its caller gave up. It has no name in RFC 9110; 499 is what
// HTTP servers use for it.
const StatusCancelled = 499

// Condition ties a code to the error class that causes it and the HTTP status that carries it.
type Condition struct {
	Code   Code
	Class  error // tested with errors.Is
	Status int
}

// Conditions is the one table between error classes, codes and HTTP statuses. The server reads it in one direction, the
// client in the other. An error that matches several conditions has the first.
func Conditions() []Condition {
	return []Condition{
		{CodeInvalid, errdefs.ErrInvalid, http.StatusBadRequest},
		{CodeNotFound, errdefs.ErrNotFound, http.StatusNotFound},
		{CodeAmbiguous, errdefs.ErrAmbiguous, http.StatusConflict},
		{CodeExists, errdefs.ErrExists, http.StatusConflict},
		{CodeInUse, errdefs.ErrInUse, http.StatusConflict},
		{CodeState, errdefs.ErrState, http.StatusConflict},
		{CodeUnavailable, errdefs.ErrUnavailable, http.StatusServiceUnavailable},
		{CodeExhausted, errdefs.ErrExhausted, http.StatusInsufficientStorage},
		{CodeTimeout, errdefs.ErrTimeout, http.StatusGatewayTimeout},
		{CodeCancelled, context.Canceled, StatusCancelled},
		{CodeTimeout, context.DeadlineExceeded, http.StatusGatewayTimeout},
	}
}

// Error returns the detail.
func (e *Error) Error() string { return e.Detail }

// GetStatus returns the HTTP status.
func (e *Error) GetStatus() int { return e.Status }

// ContentType replaces application/json by the media type of RFC 9457.
func (e *Error) ContentType(string) string { return "application/problem+json" }

// Is makes errors.Is find the class that the error's code stands for, as if the error had not crossed a socket.
func (e *Error) Is(target error) bool {
	for _, c := range Conditions() {
		if c.Code == e.Code && c.Class == target {
			return true
		}
	}
	return false
}
