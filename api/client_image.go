package api

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
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

// RegisterImage makes an image of files that stay where they are.
func (c *Client) RegisterImage(ctx context.Context, req ImageRegister, progress Progress) (Image, error) {
	return operate[Image](ctx, c, http.MethodPost, RouteImageRegister, req, progress)
}

// PromoteImage copies the files of a registered image, so that they are banger's.
func (c *Client) PromoteImage(ctx context.Context, ref string, progress Progress) (Image, error) {
	return operate[Image](ctx, c, http.MethodPost, at(RouteImagePromote, ref), nil, progress)
}

// TagImage gives an image one more name.
func (c *Client) TagImage(ctx context.Context, ref string, req ImageTag, progress Progress) (Image, error) {
	return operate[Image](ctx, c, http.MethodPost, at(RouteImageTag, ref), req, progress)
}

// SeedImage makes the work seed of an image that has none.
func (c *Client) SeedImage(ctx context.Context, ref string, req ImageSeed, progress Progress) (Image, error) {
	return operate[Image](ctx, c, http.MethodPost, at(RouteImageSeed, ref), req, progress)
}

// VerifyImage compares an image's files with their digests.
func (c *Client) VerifyImage(ctx context.Context, ref string, progress Progress) (Image, error) {
	return operate[Image](ctx, c, http.MethodPost, at(RouteImageVerify, ref), nil, progress)
}

// ImportImage makes an image of an archive that is read from r.
func (c *Client) ImportImage(ctx context.Context, req ImageImport, r io.Reader, progress Progress) (Image, error) {
	query := url.Values{"name": {req.Name}, "force": {strconv.FormatBool(req.Force)}}
	for key, value := range map[string]string{"tag": req.Tag, "platform": req.Platform, "kernel": req.Kernel} {
		if value != "" {
			query.Set(key, value)
		}
	}
	return operate[Image](ctx, c, http.MethodPost, RouteImageImport+"?"+query.Encode(), r, progress)
}

// ExportImage writes an image into a file.
func (c *Client) ExportImage(ctx context.Context, ref string, req ImageExport, progress Progress) (ImageExported, error) {
	return operate[ImageExported](ctx, c, http.MethodPost, at(RouteImageExport, ref), req, progress)
}

// ImageCache measures the cache of layers.
func (c *Client) ImageCache(ctx context.Context) (Usage, error) {
	return get[Usage](ctx, c, RouteImageCache)
}

// PruneImageCache empties the cache of layers; with keep, of those that no image was made of.
func (c *Client) PruneImageCache(ctx context.Context, keep bool) (Pruned, error) {
	return call[Pruned](ctx, c, http.MethodDelete, RouteImageCache+"?keep="+strconv.FormatBool(keep), nil)
}

// DeleteImage removes an image that no VM uses, and returns what it was.
func (c *Client) DeleteImage(ctx context.Context, ref string) (Image, error) {
	return call[Image](ctx, c, http.MethodDelete, at(RouteImage, ref), nil)
}
