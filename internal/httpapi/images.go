package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/banger-dev/banger/api"
)

func (s *Server) registerImages() {
	images, tags := s.services.Images, []string{"image"}
	register(s, huma.Operation{
		OperationID: "image-list", Method: http.MethodGet, Path: api.RouteImages, Summary: "image list", Tags: tags,
	}, func(ctx context.Context, _ *nothing) ([]api.Image, error) { return list(images.List(ctx)) })
	register(s, huma.Operation{
		OperationID: "image-show", Method: http.MethodGet, Path: api.RouteImage, Summary: "image show", Tags: tags,
	}, func(ctx context.Context, in *Named) (api.Image, error) { return images.Get(ctx, in.Ref) })
	register(s, huma.Operation{
		OperationID: "image-delete", Method: http.MethodDelete, Path: api.RouteImage, Summary: "image delete", Tags: tags,
		Description: "Refused while a VM uses the image.",
	}, func(ctx context.Context, in *Named) (api.Image, error) { return images.Delete(ctx, in.Ref) })
	operation(s, huma.Operation{
		OperationID: "image-build", Method: http.MethodPost, Path: api.RouteImageBuild, Summary: "image build", Tags: tags,
	}, func(in *request[api.ImageBuild]) string { return in.Body.Recipe },
		func(ctx context.Context, in *request[api.ImageBuild]) (api.Image, error) {
			return images.Build(ctx, in.Body)
		})
	operation(s, huma.Operation{
		OperationID: "image-pull", Method: http.MethodPost, Path: api.RouteImagePull, Summary: "image pull", Tags: tags,
		Description: "Callers that ask for the same at the same time share the work, which goes on until the last of them gives up.",
	}, func(in *request[api.ImagePull]) string { return in.Body.Reference },
		func(ctx context.Context, in *request[api.ImagePull]) (api.Image, error) {
			return images.Pull(ctx, in.Body)
		})
	operation(s, huma.Operation{
		OperationID: "image-register", Method: http.MethodPost, Path: api.RouteImageRegister, Summary: "image register", Tags: tags,
	}, func(in *request[api.ImageRegister]) string { return in.Body.Name },
		func(ctx context.Context, in *request[api.ImageRegister]) (api.Image, error) {
			return images.Register(ctx, in.Body)
		})
	s.registerImageVerbs()
	s.registerImageImport()
	s.registerImageCache()
}
