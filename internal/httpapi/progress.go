package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/op"
)

const ndjson = "application/x-ndjson"

// backlog is how many events wait for a client that reads slowly. More are dropped: progress is only news.
const backlog = 256

// operation adds a route that starts an operation and answers with its events. The operation ends early when the client
// goes away, or asks for it by the operation's id. subject names what is operated on, for the log.
func operation[I, T any](s *Server, route huma.Operation, subject func(*I) string, run func(context.Context, *I) (T, error)) {
	s.describeEvents(&route, reflect.TypeFor[T]())
	kind := route.Summary
	huma.Register(s.api, route, func(_ context.Context, in *I) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(hc huma.Context) { //nolint:contextcheck // it has one of its own
			r, w := humago.Unwrap(hc)
			s.operate(r.Context(), w, kind, subject(in), func(ctx context.Context) (any, error) { return run(ctx, in) })
		}}, nil
	})
}

// operate runs one operation and writes its events to w.
func (s *Server) operate(ctx context.Context, w http.ResponseWriter, kind, subject string, run func(context.Context) (any, error)) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	events := make(chan op.Event, backlog)
	running := newRunning(kind, subject, cancel)
	ctx, o := op.Start(ctx, s.log, kind, subject, func(e op.Event) {
		running.report(translate(e))
		select {
		case events <- e:
		default:
		}
	})
	forget := s.operations.add(o.ID, running)

	var last api.Event
	go func() {
		defer close(events)
		last = outcome(ctx, o, run)
		forget() // before the client is told: what it lists next does not have it
	}()
	w.Header().Set("Content-Type", ndjson)
	out := eventWriter{operation: o.ID, to: w, flush: http.NewResponseController(w).Flush}
	out.write(api.Event{})
	for e := range events {
		out.write(translate(e))
	}
	out.write(last)
}

// outcome runs the operation to its end.
func outcome(ctx context.Context, o *op.Operation, run func(context.Context) (any, error)) api.Event {
	result, err := run(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // what a cancelled operation says of itself is a consequence
	}
	o.End(err)
	if err != nil {
		e := *Problem(err)
		e.Operation = o.ID
		return api.Event{Error: &e}
	}
	return api.Event{Result: result}
}

// eventWriter writes events as lines. After the first failure it is silent: the client is gone, which also ends the
// operation's context.
type eventWriter struct {
	operation string
	to        http.ResponseWriter
	flush     func() error
	failed    bool
}

func (w *eventWriter) write(e api.Event) {
	if w.failed {
		return
	}
	e.Operation = w.operation
	err := json.NewEncoder(w.to).Encode(e)
	if err == nil {
		err = w.flush()
	}
	w.failed = err != nil
}

func translate(e op.Event) api.Event {
	out := api.Event{
		Stage: e.Stage, Detail: e.Detail, Current: e.Current, Total: e.Total,
		ElapsedMS: e.Elapsed.Milliseconds(), Warning: e.Warning,
	}
	if e.Ended {
		out.StageMS = max(1, e.Took.Milliseconds()) // 0 would say that the stage goes on
	}
	return out
}

// describeEvents documents a stream of events that ends with a result of the given type, or with an error.
func (s *Server) describeEvents(route *huma.Operation, result reflect.Type) {
	schemas := s.api.OpenAPI().Components.Schemas
	event := schemas.Schema(reflect.TypeFor[api.Event](), true, "Event")
	line := &huma.Schema{AllOf: []*huma.Schema{event}}
	if result.Size() > 0 {
		line.AllOf = append(line.AllOf, &huma.Schema{
			Type:       huma.TypeObject,
			Properties: map[string]*huma.Schema{"result": schemas.Schema(result, true, "")},
		})
	}
	route.Responses = map[string]*huma.Response{"200": {
		Description: "Events, one a line. The first tells the operation's id; the last has result or error. " +
			"DELETE " + api.RouteOperation + " cancels the operation, and so does closing the connection.",
		Content: map[string]*huma.MediaType{ndjson: {Schema: line}},
	}}
}
