package httpapi

import (
	"context"

	"github.com/danielgtaylor/huma/v2"
)

// document is an answer of one JSON document.
type document[T any] struct{ Body T }

// register adds a route whose answer is one JSON document.
func register[I, T any](s *Server, op huma.Operation, run func(context.Context, *I) (T, error)) {
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*document[T], error) {
		out, err := run(ctx, in)
		if err != nil {
			return nil, Problem(err)
		}
		return &document[T]{Body: out}, nil
	})
}

// list makes an empty list of none, so that the answer is [] and not null.
func list[T any](items []T, err error) ([]T, error) {
	if items == nil {
		items = []T{}
	}
	return items, err
}

type nothing struct{}

// Named is the input of a route with a reference. It is exported because huma sees only exported fields, embedded or not.
type Named struct {
	Ref string `path:"ref" doc:"exact name, exact id, or unique prefix of either" maxLength:"256"`
}

// request is the input of a route with a body alone.
type request[T any] struct{ Body T }
