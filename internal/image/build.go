package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/fsutil"
	"github.com/banger-dev/banger/internal/image/recipe"
	"github.com/banger-dev/banger/internal/names"
	"github.com/banger-dev/banger/internal/op"
	"github.com/banger-dev/banger/internal/publish"
	"github.com/banger-dev/banger/internal/userns"
)

// Build makes an image by a recipe, or of a Dockerfile. While another Build of the same name runs, it waits, until ctx ends, and returns
// what that one made if it is from the same recipe. A name that is taken otherwise is errdefs.ErrExists, unless
// req.Force is set: then the image of that name is replaced, though VMs that use it keep it. A Build that fails or is
// cancelled leaves nothing.
func (s *Service) Build(ctx context.Context, req api.ImageBuild) (api.Image, error) {
	if req.Dockerfile != "" {
		return s.buildDockerfile(ctx, req)
	}
	r, err := s.recipe(req.Recipe)
	if err != nil {
		return api.Image{}, err
	}
	if req.Name == "" {
		req.Name = req.Recipe
	}
	if err := names.Validate("image", req.Name); err != nil {
		return api.Image{}, err
	}
	i, err := s.build(ctx, r, req)
	if err != nil {
		return api.Image{}, fmt.Errorf("build image %q: %w", req.Name, err)
	}
	return i, nil
}

func (s *Service) recipe(name string) (recipe.Recipe, error) {
	known := make([]string, len(s.recipes))
	for i, r := range s.recipes {
		if r.Name() == name {
			return r, nil
		}
		known[i] = r.Name()
	}
	return nil, errdefs.WithHint(errdefs.New(errdefs.ErrInvalid, "build image: there is no recipe %q", name),
		"the recipes are %s", strings.Join(known, ", "))
}

func (s *Service) build(ctx context.Context, r recipe.Recipe, req api.ImageBuild) (api.Image, error) {
	before, err := s.taken(ctx, req.Name)
	if err != nil {
		return api.Image{}, err
	}
	s.failpoint("wait")
	unlock, err := s.builds.Lock(ctx, req.Name)
	if err != nil {
		return api.Image{}, err
	}
	defer unlock()
	existing, err := s.taken(ctx, req.Name)
	switch {
	case err != nil:
		return api.Image{}, err
	case existing == nil:
	case existing.Source == source(r) && (before == nil || !before.CreatedAt.Equal(existing.CreatedAt)):
		return *existing, nil // made while this one waited
	case !req.Force:
		return api.Image{}, exists(req.Name)
	}
	draft := api.Image{Name: req.Name, Source: source(r), Config: r.Config()}
	return s.produce(ctx, draft, req.Force, func(ctx context.Context, staging *publish.Staging, _ *api.Image) error {
		return s.stage(ctx, r, staging)
	})
}

// taken returns the image that has the name, if any.
func (s *Service) taken(ctx context.Context, name string) (*api.Image, error) {
	images, err := s.records.Images(ctx)
	if err != nil {
		return nil, err
	}
	for _, i := range images {
		if i.Name == name {
			return &i, nil
		}
	}
	return nil, nil
}

func exists(name string) error {
	return errdefs.WithHint(errdefs.New(errdefs.ErrExists, "image %q exists", name),
		"replace it with --force, or give another name with --name")
}

func source(r recipe.Recipe) string { return "build:" + r.Name() }

// stage makes the image's files in staging.
func (s *Service) stage(ctx context.Context, r recipe.Recipe, staging *publish.Staging) error {
	scratch := staging.Path("scratch")
	if err := os.Mkdir(scratch, 0o700); err != nil {
		return err
	}
	if err := s.make(ctx, r, scratch, staging); err != nil {
		return err
	}
	return userns.RemoveAll(ctx, scratch)
}

// make runs the recipe and writes its stream to the staged files.
func (s *Service) make(ctx context.Context, r recipe.Recipe, scratch string, staging *publish.Staging) (err error) {
	rootfs, err := create(staging.Path(RootfsFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rootfs.Close()) }()
	seed, err := create(staging.Path(SeedFile))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, seed.Close()) }()
	stream, err := r.Open(ctx, scratch)
	if err != nil {
		return err
	}
	counted := &countedStream{ctx: ctx, Stream: stream}
	flattenErr := s.flatten(ctx, counted, rootfs, seed)
	if flattenErr == nil && !counted.ended {
		flattenErr = errors.New("the archive goes on behind its end")
	}
	counted.end(flattenErr)
	// What the recipe says of a stream that broke off is the cause; what its reader says only follows from that.
	if err := stream.Close(); err != nil {
		return err
	}
	return fsutil.NoSpace(flattenErr)
}

// countedStream reports the bytes that are read as a stage, which begins with the first.
type countedStream struct {
	recipe.Stream
	ctx   context.Context //nolint:containedctx // lives as long as one call of make
	stage *op.Stage
	ended bool
}

func (c *countedStream) Read(p []byte) (int, error) {
	n, err := c.Stream.Read(p)
	if n > 0 && c.stage == nil {
		c.stage = op.Begin(c.ctx, "write file systems", "")
	}
	if c.stage != nil {
		c.stage.Add(int64(n))
	}
	c.ended = c.ended || errors.Is(err, io.EOF)
	return n, err
}

func (c *countedStream) end(err error) {
	if c.stage != nil {
		_ = c.stage.End(err) // returns err
	}
}

func create(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o400) // immutable once it is written
}
