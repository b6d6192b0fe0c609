package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/fsutil"
	"github.com/banger-dev/banger/internal/op"
	"github.com/banger-dev/banger/internal/publish"
)

// fill makes an image's files in staging: its root file system and, unless that is not possible, its work seed. It may
// change the draft of the record.
type fill func(ctx context.Context, staging *publish.Staging, draft *api.Image) error

// produce makes a managed image of the draft and publishes it, or leaves nothing. With replace it takes the name of an
// image that has it. It may take long and must not be called in exclusive.
func (s *Service) produce(ctx context.Context, draft api.Image, replace bool, f fill) (api.Image, error) {
	staging, err := publish.New(s.dirs.Staging(), "image")
	if err != nil {
		return api.Image{}, err
	}
	s.failpoint("stage")
	draft.Kind = "managed"
	err = f(ctx, staging, &draft)
	if err == nil {
		err = settle(ctx, staging, &draft)
	}
	s.failpoint("staged")
	if err == nil {
		draft, err = s.commit(ctx, staging, draft, replace)
	}
	if err = errors.Join(err, staging.Discard()); err != nil { //nolint:contextcheck // the end of ctx is no reason to leave something
		return api.Image{}, err
	}
	return draft, nil
}

// settle describes the staged files and brings them to disk.
func settle(ctx context.Context, staging *publish.Staging, draft *api.Image) error {
	stage := op.Begin(ctx, "check", draft.Name)
	err := describe(ctx, staging, draft)
	if err == nil {
		err = staging.Sync()
	}
	return stage.End(err)
}

// describe fills in what follows from the staged files: their digests and the image's id.
func describe(ctx context.Context, staging *publish.Staging, i *api.Image) error {
	var rootfs, seed api.File
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { rootfs, err = fsutil.Describe(ctx, staging.Path(RootfsFile)); return err })
	_, err := os.Lstat(staging.Path(SeedFile))
	if err == nil {
		i.WorkSeed = &seed
		g.Go(func() (err error) { seed, err = fsutil.Describe(ctx, staging.Path(SeedFile)); return err })
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err := errors.Join(g.Wait(), err); err != nil {
		return err
	}
	i.Rootfs = rootfs
	i.ID, err = identify(*i)
	return err
}

// identify returns the id of an image: twelve digits of the sha256 of what it is. Its name is part of that, so that
// two names never share a directory.
func identify(i api.Image) (string, error) {
	what := struct {
		Name, Source, Kernel, Rootfs, Seed string
		Config                             api.ImageConfig
	}{i.Name, i.Source, i.Kernel, i.Rootfs.SHA256, "", i.Config}
	if i.WorkSeed != nil {
		what.Seed = i.WorkSeed.SHA256
	}
	data, err := json.Marshal(what)
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(data)
	return hex.EncodeToString(digest[:])[:12], nil
}
