package image

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/names"
	"github.com/banger-dev/banger/internal/publish"
)

// Tag gives an image one more name. The result is an image of its own: each of the two can be deleted without the other.
// Managed files are linked, not copied.
func (s *Service) Tag(ctx context.Context, reference string, req api.ImageTag) (api.Image, error) {
	if err := names.Validate("image", req.Name); err != nil {
		return api.Image{}, err
	}
	old, err := s.Get(ctx, reference)
	if err != nil || old.Name == req.Name {
		return old, err
	}
	i, err := s.tag(ctx, old, req)
	if err != nil {
		return api.Image{}, fmt.Errorf("tag image %q: %w", reference, err)
	}
	return i, nil
}

func (s *Service) tag(ctx context.Context, old api.Image, req api.ImageTag) (api.Image, error) {
	unlock, err := s.builds.Lock(ctx, req.Name)
	if err != nil {
		return api.Image{}, err
	}
	defer unlock()
	draft := old
	draft.Name = req.Name
	if old.Kind == registered {
		draft.CreatedAt = time.Now().UTC()
		if draft.ID, err = identify(draft); err != nil {
			return api.Image{}, err
		}
		return draft, s.record(ctx, draft, req.Force)
	}
	return s.produce(ctx, draft, req.Force, func(ctx context.Context, staging *publish.Staging, _ *api.Image) error {
		return bring(ctx, staging, old, link)
	})
}

func link(_ context.Context, from, to string) error { return os.Link(from, to) }

// Seed makes the work seed of an image that has none, or with req.Force any. VMs that exist keep their disks: where there
// are such, the image without the seed stays, named <name>-<id>.
func (s *Service) Seed(ctx context.Context, reference string, req api.ImageSeed) (api.Image, error) {
	old, err := s.Get(ctx, reference)
	if err != nil || old.WorkSeed != nil && !req.Force {
		return old, err
	}
	i, err := s.seed(ctx, old)
	if err != nil {
		return api.Image{}, fmt.Errorf("seed image %q: %w", reference, err)
	}
	return i, nil
}

func (s *Service) seed(ctx context.Context, old api.Image) (api.Image, error) {
	if old.Kind == registered {
		return api.Image{}, errdefs.WithHint(errdefs.New(errdefs.ErrState, "its files are not banger's"),
			"`banger image promote %s` copies them; or register it again with --work-seed", old.Name)
	}
	unlock, err := s.builds.Lock(ctx, old.Name)
	if err != nil {
		return api.Image{}, err
	}
	defer unlock()
	draft := old
	draft.SeedError, draft.WorkSeed = "", nil
	return s.produce(ctx, draft, true, func(ctx context.Context, staging *publish.Staging, _ *api.Image) error {
		if err := bringFile(ctx, old.Rootfs, staging.Path(RootfsFile), link); err != nil {
			return err
		}
		return s.makeSeed(ctx, staging.Path(RootfsFile), staging.Path(SeedFile))
	})
}
