package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/banger-dev/banger/api"
)

func (s *Server) registerKernels() {
	kernels, tags := s.services.Kernels, []string{"kernel"}
	register(s, huma.Operation{
		OperationID: "kernel-list", Method: http.MethodGet, Path: api.RouteKernels, Summary: "kernel list", Tags: tags,
	}, func(ctx context.Context, _ *nothing) ([]api.Kernel, error) { return list(kernels.List(ctx)) })
	register(s, huma.Operation{
		OperationID: "kernel-available", Method: http.MethodGet, Path: api.RouteKernelOffers, Summary: "kernel list --available", Tags: tags,
	}, func(ctx context.Context, _ *nothing) ([]api.KernelOffer, error) { return list(kernels.Available(ctx)) })
	register(s, huma.Operation{
		OperationID: "kernel-show", Method: http.MethodGet, Path: api.RouteKernel, Summary: "kernel show", Tags: tags,
	}, func(ctx context.Context, in *Named) (api.Kernel, error) { return kernels.Get(ctx, in.Ref) })
	register(s, huma.Operation{
		OperationID: "kernel-rm", Method: http.MethodDelete, Path: api.RouteKernel, Summary: "kernel rm", Tags: tags,
		Description: "Refused while a VM or an image uses the kernel.",
	}, func(ctx context.Context, in *Named) (api.Kernel, error) { return kernels.Remove(ctx, in.Ref) })
	operation(s, huma.Operation{
		OperationID: "kernel-pull", Method: http.MethodPost, Path: api.RouteKernelPull, Summary: "kernel pull", Tags: tags,
	}, func(in *request[api.KernelPull]) string { return in.Body.Name },
		func(ctx context.Context, in *request[api.KernelPull]) (api.Kernel, error) {
			return kernels.Pull(ctx, in.Body)
		})
	operation(s, huma.Operation{
		OperationID: "kernel-import", Method: http.MethodPost, Path: api.RouteKernelImport, Summary: "kernel import", Tags: tags,
	}, func(in *request[api.KernelImport]) string { return in.Body.Name },
		func(ctx context.Context, in *request[api.KernelImport]) (api.Kernel, error) {
			return kernels.Import(ctx, in.Body)
		})
}
