package api

import (
	"context"
	"net/http"
)

// Version says who the daemon is.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return get[Version](ctx, c, RouteVersion)
}

// Shutdown asks the daemon to leave and returns who it was. Running VMs stay. It has let go of its socket and state when
// its lock is free.
func (c *Client) Shutdown(ctx context.Context) (Version, error) {
	return call[Version](ctx, c, http.MethodPost, RouteShutdown, nil)
}

// Doctor runs the daemon's checks of the host.
func (c *Client) Doctor(ctx context.Context) ([]Check, error) {
	return get[[]Check](ctx, c, RouteDoctor)
}
