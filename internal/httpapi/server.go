// Package httpapi serves banger's services as HTTP: JSON for resources, NDJSON for operations, one upgraded stream for
// exec. It holds no logic of its own. Its OpenAPI document is made from the handlers.
package httpapi

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/banger-dev/banger/api"
)

// The limits of a request. Everything large travels on an upgraded stream.
const (
	maxBody   = 1 << 20
	maxHeader = 64 << 10
)

// Services is what the server puts on the network.
type Services struct {
	VMs     VMs
	Images  Images
	Kernels Kernels
	Daemon  Daemon
}

// Server is an http.Handler for the whole API.
type Server struct {
	services   Services
	log        *slog.Logger
	mux        *http.ServeMux
	api        huma.API
	operations operations
	requests   tracker // all but the streams
	streams    tracker // exec and console streams, which may last for days
}

// New makes a server.
func New(services Services, log *slog.Logger) *Server {
	useProblems()
	s := &Server{services: services, log: log, mux: http.NewServeMux()}
	s.api = humago.New(s.mux, configuration())
	s.registerDaemon()
	s.registerVMs()
	s.registerConsole()
	s.registerExec()
	s.registerImages()
	s.registerKernels()
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { writeProblem(w, noRoute(r)) })
	return s
}

func configuration() huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "banger",
				Version:     "v1",
				Description: "Disposable Linux machines. Served as HTTP on a Unix socket that only its user can open.",
			},
			Servers:    []*huma.Server{{URL: "http://banger", Description: "the authority is ignored; curl --unix-socket"}},
			Components: &huma.Components{Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)},
		},
		OpenAPIPath:                  "/openapi",
		Formats:                      map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat}, // the second also for +json
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
}

// HTTP returns the http.Server that serves s with its limits.
func (s *Server) HTTP() *http.Server {
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
}

// ServeHTTP serves one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.add()
	defer s.requests.done()
	if r.URL.Path != api.RouteImageImport { // whose body is an archive
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	}
	s.mux.ServeHTTP(w, r)
}

// Requests returns a channel that closes once no request but streams is being served.
func (s *Server) Requests() <-chan struct{} { return s.requests.idle() }

// Streams returns a channel that closes once no exec or console stream is being served.
func (s *Server) Streams() <-chan struct{} { return s.streams.idle() }

// CancelOperations cancels all running operations, whose clients are told the cause.
func (s *Server) CancelOperations(cause error) { s.operations.cancelAll(cause) }

// asStream counts what serve does as a stream and not as a request.
func (s *Server) asStream(serve func()) {
	s.streams.add()
	defer s.streams.done()
	s.requests.done()
	defer s.requests.add()
	serve()
}
