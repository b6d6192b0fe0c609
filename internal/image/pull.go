package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/image/oci"
	"github.com/banger-dev/banger/internal/names"
	"github.com/banger-dev/banger/internal/op"
	"github.com/banger-dev/banger/internal/publish"
)

// Pull makes an image of what req.Reference names: a recipe is built, the bundle of
// a name in a catalog is fetched, anything else is an OCI reference. Callers that ask
// for the same at the same time share the work, which goes on until the last of them gives up. An image that came from
// the same reference is replaced when the reference means something else by now, and returned as it is otherwise, unless
// req.Force is set. A Pull that fails or is cancelled leaves nothing but layers in the cache.
func (s *Service) Pull(ctx context.Context, req api.ImagePull) (api.Image, error) {
	if _, err := s.recipe(req.Reference); err == nil {
		return s.pullRecipe(ctx, req)
	}
	if req.Name != "" {
		if err := names.Validate("image", req.Name); err != nil {
			return api.Image{}, err
		}
	}
	key, err := json.Marshal(req)
	if err != nil {
		return api.Image{}, err
	}
	i, err := s.pulls.do(ctx, s.log, string(key), req.Reference, func(ctx context.Context) (api.Image, error) {
		e, err := s.cataloged(ctx, req.Reference)
		if err != nil {
			return api.Image{}, err
		}
		if e != nil {
			return s.pullBundle(ctx, *e, req)
		}
		return s.pullOCI(ctx, req)
	})
	if err != nil {
		return api.Image{}, fmt.Errorf("pull image %q: %w", req.Reference, err)
	}
	return i, nil
}

// pullRecipe returns the image that is made by the recipe, which never means something else.
func (s *Service) pullRecipe(ctx context.Context, req api.ImagePull) (api.Image, error) {
	i, err := s.Build(ctx, api.ImageBuild{Recipe: req.Reference, Name: req.Name, Force: req.Force})
	if !errors.Is(err, errdefs.ErrExists) {
		return i, err
	}
	name := req.Name
	if name == "" {
		name = req.Reference
	}
	old, lookup := s.taken(ctx, name)
	if lookup == nil && old != nil && old.Source == "build:"+req.Reference {
		return *old, nil
	}
	return api.Image{}, err
}

func (s *Service) pullOCI(ctx context.Context, req api.ImagePull) (api.Image, error) {
	if s.puller == nil {
		return api.Image{}, errdefs.New(errdefs.ErrUnavailable, "this service does not pull")
	}
	ref, err := oci.ParseReference(req.Reference)
	if err != nil {
		return api.Image{}, err
	}
	if req.Policy == oci.PullMissing || req.Policy == oci.PullNever {
		if i, err := s.pulled(ctx, ref.String(), req); err != nil || i != nil && !req.Force {
			return deref(i), err
		}
	}
	src, err := s.resolve(ctx, req)
	if err != nil {
		return api.Image{}, err
	}
	i, err := s.publishOCI(ctx, src, req)
	return i, errors.Join(err, src.Close())
}

func deref(i *api.Image) api.Image {
	if i == nil {
		return api.Image{}
	}
	return *i
}

// pulled returns the image that came from the reference source and fits req, if there is one and its files are there.
func (s *Service) pulled(ctx context.Context, source string, req api.ImagePull) (*api.Image, error) {
	images, err := s.records.Images(ctx)
	if err != nil {
		return nil, err
	}
	for _, i := range images {
		if i.Source == source && fits(i, req) && missing(i) == nil {
			return &i, nil
		}
	}
	return nil, nil
}

func fits(i api.Image, req api.ImagePull) bool {
	return (req.Name == "" || req.Name == i.Name) && (req.Platform == "" || req.Platform == i.Platform) && req.Kernel == i.Kernel
}

// resolve finds the image in its registry or file. Without a policy the registry is asked; when it cannot be reached, what
// the cache has of it will do.
func (s *Service) resolve(ctx context.Context, req api.ImagePull) (*oci.Image, error) {
	stage := op.Begin(ctx, "resolve", req.Reference)
	r := oci.Request{
		Reference: req.Reference, Platform: req.Platform, Insecure: req.Insecure, CAFile: req.CAFile, Policy: req.Policy,
	}
	if r.Policy == "" {
		r.Policy = oci.PullAlways
	}
	src, err := s.puller.Resolve(ctx, r)
	if req.Policy == "" && errors.Is(err, errdefs.ErrUnavailable) {
		r.Policy = oci.PullNever
		if cached, second := s.puller.Resolve(ctx, r); second == nil {
			op.Warn(ctx, fmt.Sprintf("what is cached of %s is used, because the registry does not answer: %v", req.Reference, err))
			src, err = cached, nil
		}
	}
	return src, stage.End(err)
}

// publishOCI makes the image under the name that req asks for, or under the first free one of those that the reference
// gives.
func (s *Service) publishOCI(ctx context.Context, src *oci.Image, req api.ImagePull) (api.Image, error) {
	candidates := []string{req.Name}
	if req.Name == "" {
		candidates = namesFor(src.Reference)
	}
	for n, name := range candidates {
		i, err := s.publishAs(ctx, src, name, req)
		if n == len(candidates)-1 || !errors.Is(err, errdefs.ErrExists) {
			return i, err
		}
	}
	panic("there is a candidate always")
}

func (s *Service) publishAs(ctx context.Context, src *oci.Image, name string, req api.ImagePull) (api.Image, error) {
	s.failpoint("wait")
	unlock, err := s.builds.Lock(ctx, name)
	if err != nil {
		return api.Image{}, err
	}
	defer unlock()
	old, err := s.taken(ctx, name)
	if err != nil {
		return api.Image{}, err
	}
	ours := old != nil && old.Source == src.Reference
	switch {
	case old == nil, req.Force:
	case ours && old.Digest == src.Digest && old.Kernel == req.Kernel && missing(*old) == nil:
		return *old, nil
	case !ours || req.Reference == "": // only a reference may come to mean something else
		return api.Image{}, exists(name)
	}
	draft := api.Image{
		Name: name, Source: src.Reference, Digest: src.Digest, Platform: src.Platform, Config: src.Config,
		Kernel: req.Kernel, Labels: src.Config.Labels,
	}
	return s.produce(ctx, draft, old != nil, func(ctx context.Context, staging *publish.Staging, draft *api.Image) error {
		return s.unpack(ctx, src, staging, draft)
	})
}
