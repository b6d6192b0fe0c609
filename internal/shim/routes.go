package shim

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/splice"
)

const defaultStopTimeout = 30 * time.Second

func (s *shim) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+control.RouteState, s.getState)
	mux.HandleFunc("GET "+control.RouteEvents, s.getEvents)
	mux.HandleFunc("GET "+control.RouteConsole, s.getConsole)
	mux.HandleFunc("POST "+control.RouteStop, s.postStop)
	mux.HandleFunc("POST "+control.RouteKill, s.postKill)
	mux.HandleFunc("POST "+control.RoutePause, func(w http.ResponseWriter, r *http.Request) { answer(w, s.pause(r.Context())) })
	mux.HandleFunc("POST "+control.RouteResume, func(w http.ResponseWriter, r *http.Request) { answer(w, s.resume(r.Context())) })
	mux.Handle(control.RouteAgent+"/", s.memory.During(s.agentProxy()))
	return mux
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		control.WriteProblem(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func answerJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the caller may be gone
}

func (s *shim) getState(w http.ResponseWriter, _ *http.Request) { answerJSON(w, s.board.get()) }

func (s *shim) getEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines := json.NewEncoder(flusher{w})
	_ = s.board.watch(r.Context(), func(st control.State) error { return lines.Encode(st) }) // ends with the run or the caller
}

func (s *shim) getConsole(w http.ResponseWriter, r *http.Request) {
	tail, err := strconv.Atoi(r.FormValue("tail"))
	if err != nil && r.FormValue("tail") != "" {
		control.WriteProblem(w, errdefs.New(errdefs.ErrInvalid, "read console: tail is not a number"))
		return
	}
	if err != nil {
		tail = -1
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if err := s.console.Copy(r.Context(), flusher{w}, tail, r.FormValue("follow") == "1"); err != nil {
		s.log.Debug("console reader ended", "error", err)
	}
}

func (s *shim) postStop(w http.ResponseWriter, r *http.Request) {
	var req control.StopRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&req); err != nil {
		control.WriteProblem(w, errdefs.New(errdefs.ErrInvalid, "stop vm: %w", err))
		return
	}
	timeout := time.Duration(req.TimeoutMS) * time.Millisecond
	if timeout <= 0 {
		timeout = defaultStopTimeout
	}
	s.stop(r.Context(), timeout)
	if s.awaitEnd(r) {
		wish, _ := s.wishes.get()
		answerJSON(w, control.StopAnswer{Escalated: wish == escalated})
	}
}

func (s *shim) postKill(w http.ResponseWriter, r *http.Request) {
	s.kill()
	if s.awaitEnd(r) {
		w.WriteHeader(http.StatusNoContent)
	}
}

// awaitEnd waits for the end of the run; a caller who leaves does not change what was asked.
func (s *shim) awaitEnd(r *http.Request) bool {
	select {
	case <-s.ended:
		return true
	case <-r.Context().Done():
		return false
	}
}

// agentProxy passes requests on to the guest's agent and splices those that are upgraded.
func (s *shim) agentProxy() http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", "agent", "agent"
			r.Out.URL.Path = strings.TrimPrefix(r.In.URL.Path, control.RouteAgent)
			r.Out.URL.RawPath = ""
		},
		Transport:      agentTransport{&s.link},
		ModifyResponse: splice.KeepAnswer,
		FlushInterval:  -1, // what the guest says is passed on at once
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if errdefs.Class(err) == nil && !errors.Is(err, http.ErrAbortHandler) {
				err = errdefs.As(errdefs.ErrUnavailable, err)
			}
			control.WriteProblem(w, err)
		},
	}
}

// flusher sends each write on at once.
type flusher struct{ http.ResponseWriter }

func (f flusher) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	if err == nil {
		err = http.NewResponseController(f.ResponseWriter).Flush()
	}
	return n, err
}
