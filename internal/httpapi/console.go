package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/banger-dev/banger/api"
)

type consoleInput struct {
	Named
	Follow bool `query:"follow" doc:"go on until the VM ends"`
	Tail   int  `query:"tail" default:"-1" minimum:"-1" doc:"only the last lines; -1: all"`
}

func (s *Server) registerConsole() {
	huma.Register(s.api, huma.Operation{
		OperationID: "vm-console", Method: http.MethodGet, Path: api.RouteVMConsole, Summary: "vm logs", Tags: []string{"vm"},
		Responses: map[string]*huma.Response{"200": {
			Description: "What the guest wrote to its console, byte for byte.",
			Content:     map[string]*huma.MediaType{octets: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
		}},
	}, func(_ context.Context, in *consoleInput) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			r, w := humago.Unwrap(hc)
			s.asStream(func() { s.console(w, r, in) })
		}}, nil
	})
}

const octets = "application/octet-stream"

func (s *Server) console(w http.ResponseWriter, r *http.Request, in *consoleInput) {
	out := &flushWriter{to: w, flush: http.NewResponseController(w).Flush}
	w.Header().Set("Content-Type", octets)
	err := s.services.VMs.Console(r.Context(), in.Ref, in.Follow, in.Tail, out)
	switch {
	case err == nil || r.Context().Err() != nil:
	case out.started:
		s.log.Warn("console stream broken off", "vm", in.Ref, "error", err)
		panic(http.ErrAbortHandler) // the client must not take it for complete
	default:
		writeProblem(w, Problem(err))
	}
}

// flushWriter sends each write on at once.
type flushWriter struct {
	to      http.ResponseWriter
	flush   func() error
	started bool
}

func (w *flushWriter) Write(p []byte) (int, error) {
	w.started = true
	n, err := w.to.Write(p)
	if err == nil {
		err = w.flush()
	}
	return n, err
}
