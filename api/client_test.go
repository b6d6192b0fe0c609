package api

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/banger-dev/banger/internal/errdefs"
)

// A reference is one segment of a path, or the request would be for something else.
func TestReferencesThatAreNoSegment(t *testing.T) {
	tests := map[string]struct {
		ref  string
		want error
	}{
		"empty":  {"", errdefs.ErrInvalid},
		"dot":    {".", errdefs.ErrNotFound},
		"parent": {"..", errdefs.ErrNotFound},
		"slash":  {"a/../b", nil},
		"name":   {"box", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			for _, route := range []string{RouteVM, RouteVMExec} {
				_, err := newRequest(t.Context(), http.MethodGet, at(route, tt.ref), nil)
				if !errors.Is(err, tt.want) {
					t.Errorf("%s: %v, want %v", route, err, tt.want)
				}
			}
		})
	}
}

// A request that the daemon would refuse while it is being sent is refused before, with the reason.
func TestExecOfTooMuch(t *testing.T) {
	c := &Client{}
	_, err := c.Exec(t.Context(), "box", ExecRequest{Command: []string{"echo", strings.Repeat("x", maxRequest)}}, Streams{})
	if !errors.Is(err, errdefs.ErrInvalid) || errdefs.Hint(err) == "" {
		t.Errorf("Exec = %v", err)
	}
}
