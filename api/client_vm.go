package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// VMs lists all VMs.
func (c *Client) VMs(ctx context.Context) ([]VM, error) { return get[[]VM](ctx, c, RouteVMs) }

// VM returns one VM.
func (c *Client) VM(ctx context.Context, ref string) (VM, error) {
	return get[VM](ctx, c, at(RouteVM, ref))
}

// CreateVM makes a VM and its disks. A missing image or kernel that has a recipe is made first. It does not start it.
func (c *Client) CreateVM(ctx context.Context, spec VMSpec, progress Progress) (VM, error) {
	return operate[VM](ctx, c, http.MethodPost, RouteVMs, spec, progress)
}

// StartVM boots a VM and returns when commands can be run in it.
func (c *Client) StartVM(ctx context.Context, ref string, progress Progress) (VM, error) {
	return operate[VM](ctx, c, http.MethodPost, at(RouteVMStart, ref), nil, progress)
}

// StopVM asks the guest to end, and kills it when it does not in time.
func (c *Client) StopVM(ctx context.Context, ref string, req StopRequest, progress Progress) (StopResult, error) {
	return operate[StopResult](ctx, c, http.MethodPost, at(RouteVMStop, ref), req, progress)
}

// RestartVM stops a VM and starts it again.
func (c *Client) RestartVM(ctx context.Context, ref string, req StopRequest, progress Progress) (VM, error) {
	return operate[VM](ctx, c, http.MethodPost, at(RouteVMRestart, ref), req, progress)
}

// KillVM ends a VM at once. What its guest has not written out is lost.
func (c *Client) KillVM(ctx context.Context, ref string) (VM, error) {
	return call[VM](ctx, c, http.MethodPost, at(RouteVMKill, ref), nil)
}

// DeleteVM removes a VM with its files.
func (c *Client) DeleteVM(ctx context.Context, ref string, req DeleteRequest, progress Progress) error {
	query := url.Values{"force": {strconv.FormatBool(req.Force)}}
	_, err := operate[struct{}](ctx, c, http.MethodDelete, at(RouteVM, ref)+"?"+query.Encode(), nil, progress)
	return err
}

// Console copies a VM's console to w: the last tail lines, all when tail is negative, and with follow what comes until
// the VM ends.
func (c *Client) Console(ctx context.Context, ref string, follow bool, tail int, w io.Writer) error {
	query := url.Values{"follow": {strconv.FormatBool(follow)}, "tail": {strconv.Itoa(tail)}}
	res, err := c.send(ctx, http.MethodGet, at(RouteVMConsole, ref)+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(w, res.Body); err != nil {
		return orCause(ctx, fmt.Errorf("read console: %w", err))
	}
	return nil
}
