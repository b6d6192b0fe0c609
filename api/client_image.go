package api

import (
	"context"
	"net/http"
)

// Images lists all images.
func (c *Client) Images(ctx context.Context) ([]Image, error) {
	return get[[]Image](ctx, c, RouteImages)
}

// Image returns one image.
func (c *Client) Image(ctx context.Context, ref string) (Image, error) {
	return get[Image](ctx, c, at(RouteImage, ref))
}

// BuildImage makes an image by a recipe.
func (c *Client) BuildImage(ctx context.Context, req ImageBuild, progress Progress) (Image, error) {
	return operate[Image](ctx, c, http.MethodPost, RouteImageBuild, req, progress)
}

// PullImage makes an image of an OCI reference, or of what a catalog or a recipe has by that name.
func (c *Client) PullImage(ctx context.Context, req ImagePull, progress Progress) (Image, error) {
	return operate[Image](ctx, c, http.MethodPost, RouteImagePull, req, progress)
}

// DeleteImage removes an image that no VM uses, and returns what it was.
func (c *Client) DeleteImage(ctx context.Context, ref string) (Image, error) {
	return call[Image](ctx, c, http.MethodDelete, at(RouteImage, ref), nil)
}
