package api

import (
	"context"
	"net/http"
)

// Kernels lists all kernels.
func (c *Client) Kernels(ctx context.Context) ([]Kernel, error) {
	return get[[]Kernel](ctx, c, RouteKernels)
}

// Kernel returns one kernel.
func (c *Client) Kernel(ctx context.Context, ref string) (Kernel, error) {
	return get[Kernel](ctx, c, at(RouteKernel, ref))
}

// AvailableKernels lists what PullKernel takes.
func (c *Client) AvailableKernels(ctx context.Context) ([]KernelOffer, error) {
	return get[[]KernelOffer](ctx, c, RouteKernelOffers)
}

// PullKernel fetches a kernel by its catalog name.
func (c *Client) PullKernel(ctx context.Context, req KernelPull, progress Progress) (Kernel, error) {
	return operate[Kernel](ctx, c, http.MethodPost, RouteKernelPull, req, progress)
}

// ImportKernel makes a kernel of files on this machine.
func (c *Client) ImportKernel(ctx context.Context, req KernelImport, progress Progress) (Kernel, error) {
	return operate[Kernel](ctx, c, http.MethodPost, RouteKernelImport, req, progress)
}

// RemoveKernel removes a kernel that nothing uses, and returns what it was.
func (c *Client) RemoveKernel(ctx context.Context, ref string) (Kernel, error) {
	return call[Kernel](ctx, c, http.MethodDelete, at(RouteKernel, ref), nil)
}
