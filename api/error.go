package api

// Error is the body of every answer that is not a success, as application/problem+json (RFC 9457).
type Error struct {
	Status    int    `json:"status"`
	Title     string `json:"title"`
	Code      string `json:"code" enum:"invalid,not-found,ambiguous,exists,in-use,wrong-state,unavailable,exhausted,timed-out,cancelled,internal"`
	Detail    string `json:"detail" doc:"operation, subject and cause"`
	Hint      string `json:"hint,omitempty" doc:"the remedy"`
	Operation string `json:"operation,omitempty" doc:"operation id, also in the daemon's log"`
}

// Error returns the detail.
func (e *Error) Error() string { return e.Detail }

// GetStatus returns the HTTP status.
func (e *Error) GetStatus() int { return e.Status }
