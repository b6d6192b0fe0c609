package httpapi

import (
	"context"
	"io"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/banger-dev/banger/api"
)

// lingering is how long the rest of an archive is read that is not needed any more: a client that cannot send it would not
// read the answer.
const lingering = 5 * time.Second

// Archive is the input of an import but for its body, which is read while progress is written. It is exported for huma.
type Archive struct{ api.ImageImport }

func (s *Server) registerImageImport() {
	const kind = "image import"
	route := huma.Operation{
		OperationID: "image-import", Method: http.MethodPost, Path: api.RouteImageImport, Summary: kind, Tags: []string{"image"},
		Description: "The body is an OCI archive or what docker save writes, compressed or not. Events come while it is sent.",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
		}},
	}
	s.describeEvents(&route, reflect.TypeFor[api.Image]())
	huma.Register(s.api, route, func(_ context.Context, in *Archive) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			r, w := humago.Unwrap(hc)
			s.operateOnBody(w, r, kind, in.Name, func(ctx context.Context, body io.Reader) (any, error) {
				return s.services.Images.Import(ctx, in.ImageImport, body)
			})
		}}, nil
	})
}

// operateOnBody runs an operation that reads the request's body, which ends when the operation is cancelled.
func (s *Server) operateOnBody(
	w http.ResponseWriter, r *http.Request, kind, subject string, run func(context.Context, io.Reader) (any, error),
) {
	control := http.NewResponseController(w)
	if err := control.EnableFullDuplex(); err != nil {
		s.log.Warn("no events before the end of the body", "error", err)
	}
	s.operate(r.Context(), w, kind, subject, func(ctx context.Context) (any, error) {
		defer context.AfterFunc(ctx, func() { _ = control.SetReadDeadline(time.Now()) })() // a connection that has none is gone
		return run(ctx, r.Body)
	})
	if control.SetReadDeadline(time.Now().Add(lingering)) == nil {
		_, _ = io.Copy(io.Discard, r.Body)
	}
}
