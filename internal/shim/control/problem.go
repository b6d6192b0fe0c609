package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
)

// Problem puts an error into the form in which it crosses a socket or a file. Problem(nil) is nil.
func Problem(err error) *api.Error {
	if err == nil {
		return nil
	}
	p := &api.Error{Status: http.StatusInternalServerError, Code: api.CodeInternal, Detail: err.Error(), Hint: errdefs.Hint(err)}
	for _, c := range api.Conditions() {
		if errors.Is(err, c.Class) {
			p.Status, p.Code = c.Status, c.Code
			break
		}
	}
	p.Title = string(p.Code)
	return p
}

// Unpack turns such an error back into one with its class and its hint. Unpack(nil) is nil.
func Unpack(p *api.Error) error {
	if p == nil {
		return nil
	}
	if p.Hint == "" {
		return p
	}
	return errdefs.WithHint(p, "%s", p.Hint)
}

// WriteProblem answers a request with an error.
func WriteProblem(w http.ResponseWriter, err error) {
	p := Problem(err)
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the caller may be gone
}

// readProblem reads such an answer.
func readProblem(res *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the shim's refusal: %w", err)
	}
	var p api.Error
	if json.Unmarshal(data, &p) != nil || p.Code == "" {
		return fmt.Errorf("the shim answered %s: %.200q", res.Status, data)
	}
	return Unpack(&p)
}
