package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/banger-dev/banger/api"
)

type stopInput struct {
	Named
	Body *api.StopRequest `required:"false"`
}

func (in *stopInput) request() api.StopRequest {
	if in.Body == nil {
		return api.StopRequest{}
	}
	return *in.Body
}

type deleteInput struct {
	Named
	Force bool `query:"force" doc:"kill it if it runs"`
}

func (s *Server) registerVMs() {
	vms, tags := s.services.VMs, []string{"vm"}
	register(s, huma.Operation{
		OperationID: "vm-list", Method: http.MethodGet, Path: api.RouteVMs, Summary: "vm list", Tags: tags,
	}, func(ctx context.Context, _ *nothing) ([]api.VM, error) { return list(vms.List(ctx)) })
	register(s, huma.Operation{
		OperationID: "vm-show", Method: http.MethodGet, Path: api.RouteVM, Summary: "vm show", Tags: tags,
	}, func(ctx context.Context, in *Named) (api.VM, error) { return vms.Get(ctx, in.Ref) })
	operation(s, huma.Operation{
		OperationID: "vm-create", Method: http.MethodPost, Path: api.RouteVMs, Summary: "vm create", Tags: tags,
		Description: "Makes a VM and its disks, and a missing image or kernel first. Does not start it.",
	}, func(in *request[api.VMSpec]) string { return in.Body.Name },
		func(ctx context.Context, in *request[api.VMSpec]) (api.VM, error) { return vms.Create(ctx, in.Body) })
	operation(s, huma.Operation{
		OperationID: "vm-start", Method: http.MethodPost, Path: api.RouteVMStart, Summary: "vm start", Tags: tags,
		Description: "Boots a VM. It is done when commands can be run in it.",
	}, ofNamed, func(ctx context.Context, in *Named) (api.VM, error) { return vms.Start(ctx, in.Ref) })
	operation(s, huma.Operation{
		OperationID: "vm-stop", Method: http.MethodPost, Path: api.RouteVMStop, Summary: "vm stop", Tags: tags,
		Description: "Asks the guest to end, and kills it when it does not in time.",
	}, ofStop, func(ctx context.Context, in *stopInput) (api.StopResult, error) {
		return vms.Stop(ctx, in.Ref, in.request())
	})
	operation(s, huma.Operation{
		OperationID: "vm-restart", Method: http.MethodPost, Path: api.RouteVMRestart, Summary: "vm restart", Tags: tags,
	}, ofStop, func(ctx context.Context, in *stopInput) (api.VM, error) {
		return vms.Restart(ctx, in.Ref, in.request())
	})
	register(s, huma.Operation{
		OperationID: "vm-kill", Method: http.MethodPost, Path: api.RouteVMKill, Summary: "vm kill", Tags: tags,
		Description: "Ends a VM at once. What its guest has not written out is lost.",
	}, func(ctx context.Context, in *Named) (api.VM, error) { return vms.Kill(ctx, in.Ref) })
	operation(s, huma.Operation{
		OperationID: "vm-delete", Method: http.MethodDelete, Path: api.RouteVM, Summary: "vm delete", Tags: tags,
	}, func(in *deleteInput) string { return in.Ref },
		func(ctx context.Context, in *deleteInput) (nothing, error) {
			return nothing{}, vms.Delete(ctx, in.Ref, api.DeleteRequest{Force: in.Force})
		})
}

func ofNamed(in *Named) string    { return in.Ref }
func ofStop(in *stopInput) string { return in.Ref }
