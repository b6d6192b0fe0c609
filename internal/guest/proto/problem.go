package proto

// Problem is the body of an answer of the agent that is not a success, as application/problem+json (RFC 9457).
// It has the fields of the daemon's own errors, so that one can pass through unchanged.
type Problem struct {
	Status int    `json:"status"`
	Title  string `json:"title"`
	Code   string `json:"code"` // invalid or internal
	Detail string `json:"detail"`
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }
