package daemon

import (
	"context"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/doctor"
)

// Doctor runs the checks of the host from within the daemon, which can look into the store.
func (d *daemon) Doctor(ctx context.Context) []api.Check {
	o := examination(d.options, d.version.Build)
	o.Records = d.services.store
	o.Daemon = func(context.Context) (api.Version, error) { return d.version, nil }
	return doctor.Run(ctx, o)
}

// Examine runs the checks of the host without a daemon. failure is why there is none.
func Examine(ctx context.Context, o Options, build string, failure error) []api.Check {
	e := examination(o, build)
	e.Daemon = func(context.Context) (api.Version, error) { return api.Version{}, failure }
	return doctor.Run(ctx, e)
}

func examination(o Options, build string) doctor.Options {
	return doctor.Options{Dirs: o.Dirs, Config: o.Config, Agent: agentPath(o), Driver: driver(o), Build: build}
}
