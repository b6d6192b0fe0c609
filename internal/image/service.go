// Package image is the image service: it makes images, publishes them so that records and files never disagree, finds
// and deletes them. It knows nothing of how a recipe works or how a file system is written.
package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/image/recipe"
	"github.com/banger-dev/banger/internal/keylock"
	"github.com/banger-dev/banger/internal/paths"
	"github.com/banger-dev/banger/internal/ref"
)

// The names of an image's files in its directory.
const (
	RootfsFile = "rootfs.ext4"
	SeedFile   = "work-seed.ext4"
)

// Records is the part of the store that the service needs; see the store for the meaning of each method.
type Records interface {
	Images(ctx context.Context) ([]api.Image, error)
	PutImage(ctx context.Context, i api.Image) error
	ReplaceImage(ctx context.Context, i api.Image) error
	DeleteImage(ctx context.Context, id string) error
}

// Flatten writes one tar stream as two ext4 file systems: /root to seed, the rest to rootfs.
type Flatten func(ctx context.Context, tar io.Reader, rootfs, seed *os.File) error

// Options are what New needs.
type Options struct {
	Dirs    paths.Dirs
	Records Records
	Recipes []recipe.Recipe
	Flatten Flatten // nil: WriteExt4
	Log     *slog.Logger
}

// Service is the image service. Its methods may be called concurrently; one process uses a state directory.
type Service struct {
	dirs    paths.Dirs
	records Records
	recipes []recipe.Recipe
	flatten Flatten
	log     *slog.Logger

	builds  keylock.Locks // by image name, held while an image of that name is made
	publish keylock.Locks // one key, held while records and files change together: never while something is made

	failpoint func(step string) // set by tests only, before use: called at each step of a publication or deletion
}

// New makes the service. Call Sweep before the first use of a state directory.
func New(o Options) *Service {
	if o.Flatten == nil {
		o.Flatten = WriteExt4
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Service{
		dirs: o.Dirs, records: o.Records, recipes: o.Recipes, flatten: o.Flatten, log: o.Log,
		failpoint: func(string) {},
	}
}

// List returns every image, ordered by name.
func (s *Service) List(ctx context.Context) ([]api.Image, error) {
	images, err := s.records.Images(ctx)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	return images, nil
}

// Get returns the image that reference names.
func (s *Service) Get(ctx context.Context, reference string) (api.Image, error) {
	images, err := s.records.Images(ctx)
	if err != nil {
		return api.Image{}, fmt.Errorf("find image: %w", err)
	}
	return ref.Resolve("image", images, idAndName, reference)
}

func idAndName(i api.Image) (id, name string) { return i.ID, i.Name }

// Ensure returns the image that reference names and whose files are there. The name of a recipe that no image has
// exactly is built first; of several callers one builds, the others wait for it or until their ctx ends.
func (s *Service) Ensure(ctx context.Context, reference string) (api.Image, error) {
	images, err := s.records.Images(ctx)
	if err != nil {
		return api.Image{}, fmt.Errorf("find image: %w", err)
	}
	exact := func(i api.Image) bool { return i.Name == reference || i.ID == reference }
	if !slices.ContainsFunc(images, exact) {
		if _, err := s.recipe(reference); err == nil {
			i, err := s.Build(ctx, api.ImageBuild{Recipe: reference})
			if errors.Is(err, errdefs.ErrExists) { // made from something else since the look above
				return s.Get(ctx, reference)
			}
			return i, err
		}
	}
	i, err := ref.Resolve("image", images, idAndName, reference)
	if err != nil {
		return api.Image{}, err
	}
	return i, missing(i)
}

// missing returns errdefs.ErrUnavailable when a file of the image is not there.
func missing(i api.Image) error {
	files := []api.File{i.Rootfs}
	if i.WorkSeed != nil {
		files = append(files, *i.WorkSeed)
	}
	for _, f := range files {
		if info, err := os.Stat(f.Path); err != nil || info.Size() != f.Size {
			return errdefs.WithHint(
				errdefs.New(errdefs.ErrUnavailable, "use image %q: its file %s is gone or damaged", i.Name, f.Path),
				"build it again with banger image build --force, or delete it")
		}
	}
	return nil
}

// dir is where the files of the image id are.
func (s *Service) dir(id string) string { return filepath.Join(s.dirs.Images(), id) }
