package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/banger-dev/banger/api"
)

type operationInput struct {
	ID string `path:"id" maxLength:"64"`
}

func (s *Server) registerDaemon() {
	daemon, tags := s.services.Daemon, []string{"daemon"}
	register(s, huma.Operation{
		OperationID: "version", Method: http.MethodGet, Path: api.RouteVersion, Summary: "version", Tags: tags,
		Description: "Says who serves. A client of another build asks the daemon to leave and starts its own.",
	}, func(context.Context, *nothing) (api.Version, error) { return daemon.Version(), nil })
	register(s, huma.Operation{
		OperationID: "daemon-shutdown", Method: http.MethodPost, Path: api.RouteShutdown, Summary: "daemon stop", Tags: tags,
		Description:   "Makes the daemon leave. Running VMs stay, and so do exec streams until they end.",
		DefaultStatus: http.StatusAccepted,
	}, func(context.Context, *nothing) (api.Version, error) {
		daemon.Shutdown()
		return daemon.Version(), nil
	})
	register(s, huma.Operation{
		OperationID: "doctor", Method: http.MethodGet, Path: api.RouteDoctor, Summary: "doctor", Tags: tags,
	}, func(ctx context.Context, _ *nothing) ([]api.Check, error) { return list(daemon.Doctor(ctx), nil) })
	register(s, huma.Operation{
		OperationID: "operation-list", Method: http.MethodGet, Path: api.RouteOperations, Summary: "operation list", Tags: tags,
	}, func(context.Context, *nothing) ([]api.Operation, error) { return list(s.operations.list(), nil) })
	huma.Register(s.api, huma.Operation{
		OperationID: "operation-cancel", Method: http.MethodDelete, Path: api.RouteOperation, Summary: "cancel an operation", Tags: tags,
		Description:   "Returns at once. The operation's own stream tells how it ended.",
		DefaultStatus: http.StatusNoContent,
	}, func(_ context.Context, in *operationInput) (*nothing, error) {
		if err := s.operations.cancel(in.ID); err != nil {
			return nil, Problem(err)
		}
		return nil, nil //nolint:nilnil // huma's way to say: no body
	})
}
