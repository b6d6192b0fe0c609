package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/banger-dev/banger/api"
)

// named is the input of a route with a reference and a body.
type named[T any] struct {
	Named
	Body T
}

func (n *named[T]) ref() string { return n.Ref }

func (s *Server) registerImageVerbs() {
	images := s.services.Images
	verb := func(name, path, description string) huma.Operation {
		return huma.Operation{
			OperationID: "image-" + name, Method: http.MethodPost, Path: path, Summary: "image " + name, Tags: []string{"image"},
			Description: description,
		}
	}
	ref := func(in *Named) string { return in.Ref }
	operation(s, verb("promote", api.RouteImagePromote, "Copies the files of a registered image, so that they are banger's."), ref,
		func(ctx context.Context, in *Named) (api.Image, error) { return images.Promote(ctx, in.Ref) })
	operation(s, verb("verify", api.RouteImageVerify, "Compares the files with their digests."), ref,
		func(ctx context.Context, in *Named) (api.Image, error) { return images.Verify(ctx, in.Ref) })
	operation(s, verb("tag", api.RouteImageTag, "Gives the image one more name."), (*named[api.ImageTag]).ref,
		func(ctx context.Context, in *named[api.ImageTag]) (api.Image, error) {
			return images.Tag(ctx, in.Ref, in.Body)
		})
	operation(s, verb("seed", api.RouteImageSeed, "Makes the work seed of an image that has none."), (*named[api.ImageSeed]).ref,
		func(ctx context.Context, in *named[api.ImageSeed]) (api.Image, error) {
			return images.Seed(ctx, in.Ref, in.Body)
		})
	operation(s, verb("export", api.RouteImageExport, "Writes the image into a file."), (*named[api.ImageExport]).ref,
		func(ctx context.Context, in *named[api.ImageExport]) (api.ImageExported, error) {
			return images.Export(ctx, in.Ref, in.Body)
		})
}

type pruneInput struct {
	Keep bool `query:"keep" doc:"leave the layers that images were made of"`
}

func (s *Server) registerImageCache() {
	images, tags := s.services.Images, []string{"image"}
	register(s, huma.Operation{
		OperationID: "image-cache", Method: http.MethodGet, Path: api.RouteImageCache, Summary: "image cache", Tags: tags,
	}, func(ctx context.Context, _ *nothing) (api.Usage, error) { return images.CacheUsage(ctx) })
	register(s, huma.Operation{
		OperationID: "image-cache-prune", Method: http.MethodDelete, Path: api.RouteImageCache, Summary: "image cache prune", Tags: tags,
	}, func(ctx context.Context, in *pruneInput) (api.Pruned, error) { return images.CachePrune(ctx, in.Keep) })
}
