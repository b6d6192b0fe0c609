package httpapi

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/splice"
)

// shimAgent is where a shim serves its guest's agent.
const shimAgent = "/v1/agent"

// registerExec adds the one route that is upgraded. It is not huma's to serve, as its body must reach the agent unread,
// but it is in the document like any other.
func (s *Server) registerExec() {
	s.mux.HandleFunc(http.MethodPost+" "+api.RouteVMExec, s.exec)
	schemas := s.api.OpenAPI().Components.Schemas
	header := func(value string) *huma.Param {
		return &huma.Param{Schema: &huma.Schema{Type: huma.TypeString, Enum: []any{value}}}
	}
	failure := &huma.Response{
		Description: "Error",
		Content: map[string]*huma.MediaType{
			(&api.Error{}).ContentType(""): {Schema: schemas.Schema(reflect.TypeFor[api.Error](), true, "Error")},
		},
	}
	s.api.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "vm-exec", Method: http.MethodPost, Path: api.RouteVMExec, Summary: "vm exec", Tags: []string{"vm"},
		Description: "Runs a command in the guest. After the answer the connection carries frames both ways: type (1 byte), " +
			"length (4 bytes, big-endian), payload of at most 64 KiB. Types: 0 stdin, 1 stdout, 2 stderr, 3 stdin-close, " +
			"4 resize (rows, cols: 2 bytes each, big-endian), 5 signal (its name without SIG), 6 exit (JSON ExitStatus, the last frame), " +
			"7 window (4 bytes, big-endian: so many more bytes of stdin may be sent; 256 KiB at first).",
		Parameters: []*huma.Param{
			{Name: "ref", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}},
			{Name: "Upgrade", In: "header", Required: true, Schema: &huma.Schema{Type: huma.TypeString, Enum: []any{proto.UpgradeStream}}},
			{Name: "Connection", In: "header", Required: true, Schema: &huma.Schema{Type: huma.TypeString, Enum: []any{"Upgrade"}}},
		},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: schemas.Schema(reflect.TypeFor[api.ExecRequest](), true, "ExecRequest")},
		}},
		Responses: map[string]*huma.Response{
			"101": {Description: "The stream", Headers: map[string]*huma.Param{
				"Upgrade": header(proto.UpgradeStream), "Connection": header("Upgrade"),
			}},
			"default": failure,
		},
	})
	schemas.Schema(reflect.TypeFor[api.ExitStatus](), true, "ExitStatus") // named in the description
}

func (s *Server) exec(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), proto.UpgradeStream) {
		w.Header().Set("Upgrade", proto.UpgradeStream)
		e := Problem(errdefs.New(errdefs.ErrInvalid, "exec: the request does not ask for Upgrade: %s", proto.UpgradeStream))
		e.Status = http.StatusUpgradeRequired
		writeProblem(w, e)
		return
	}
	conn, err := s.services.VMs.DialShim(r.Context(), r.PathValue("ref"))
	if err != nil {
		writeProblem(w, Problem(err))
		return
	}
	defer conn.Close()
	s.asStream(func() { proxy(conn, proto.RouteExec).ServeHTTP(w, r) })
}

// proxy returns a proxy to one route of the agent behind the shim at the other end of conn, for one request.
func proxy(conn net.Conn, route string) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "shim"
			r.Out.URL.Path, r.Out.URL.RawPath, r.Out.URL.RawQuery = shimAgent+route, "", ""
			r.Out.Host = "shim"
		},
		Transport: &http.Transport{
			DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
			DisableKeepAlives: true, DisableCompression: true,
		},
		ModifyResponse: func(res *http.Response) error {
			if res.StatusCode == http.StatusSwitchingProtocols {
				return splice.KeepAnswer(res)
			}
			return classifyAnswer(res)
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			writeProblem(w, Problem(errdefs.New(errdefs.ErrUnavailable, "exec: call the guest agent: %w", err)))
		},
	}
}

// classifyAnswer turns a refusal that is not in our form into one.
func classifyAnswer(res *http.Response) error {
	if res.StatusCode < http.StatusBadRequest || res.Header.Get("Content-Type") == (&api.Error{}).ContentType("") {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	if err != nil {
		return fmt.Errorf("read its refusal: %w", err)
	}
	return errdefs.New(errdefs.ErrUnavailable, "%s: %s", res.Status, strings.TrimSpace(string(text)))
}
