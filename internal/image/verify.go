package image

import (
	"context"
	"fmt"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/fsutil"
	"github.com/banger-dev/banger/internal/op"
)

// Verify reads every file of the image that reference names and compares it with its record. A difference is
// errdefs.ErrUnavailable and names the file.
func (s *Service) Verify(ctx context.Context, reference string) (api.Image, error) {
	i, err := s.Get(ctx, reference)
	if err != nil {
		return api.Image{}, err
	}
	if err := verify(ctx, i); err != nil {
		return api.Image{}, fmt.Errorf("verify image %q: %w", reference, err)
	}
	return i, nil
}

func verify(ctx context.Context, i api.Image) error {
	if err := missing(i); err != nil { // far sooner known than a digest
		return err
	}
	files := []api.File{i.Rootfs}
	if i.WorkSeed != nil {
		files = append(files, *i.WorkSeed)
	}
	for _, f := range files {
		stage := op.Begin(ctx, "read", f.Path)
		if err := stage.End(compare(ctx, f, f.Path)); err != nil {
			return errdefs.WithHint(err, "make it again with `banger image %s`, or delete it", again(i))
		}
	}
	return nil
}

// compare checks that the file at path has the content of f.
func compare(ctx context.Context, f api.File, path string) error {
	now, err := fsutil.Describe(ctx, path)
	if err != nil {
		return errdefs.As(errdefs.ErrUnavailable, err)
	}
	if now.Size != f.Size || now.SHA256 != f.SHA256 {
		return errdefs.New(errdefs.ErrUnavailable, "%s is damaged: it has the sha256 %s, the record says %s", f.Path, now.SHA256, f.SHA256)
	}
	return nil
}

// CacheUsage measures the cache of layers.
func (s *Service) CacheUsage(ctx context.Context) (api.Usage, error) {
	u, err := s.puller.Usage(ctx)
	if err != nil {
		return api.Usage{}, fmt.Errorf("measure image cache: %w", err)
	}
	return api.Usage{Blobs: u.Blobs, Partial: u.Partial}, nil
}

// CachePrune removes from the cache what no running pull needs. Images are not touched; with keep, nor are the layers
// that they were made of.
func (s *Service) CachePrune(ctx context.Context, keep bool) (api.Pruned, error) {
	var digests []string
	if keep {
		images, err := s.records.Images(ctx)
		if err != nil {
			return api.Pruned{}, fmt.Errorf("prune image cache: %w", err)
		}
		for _, i := range images {
			if i.Digest != "" {
				digests = append(digests, i.Digest)
			}
		}
	}
	freed, err := s.puller.Prune(ctx, digests)
	if err != nil {
		return api.Pruned{Freed: freed}, fmt.Errorf("prune image cache: %w", err)
	}
	return api.Pruned{Freed: freed}, nil
}
