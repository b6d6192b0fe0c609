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
	"strings"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/image/catalog"
	"github.com/banger-dev/banger/internal/image/oci"
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
	Puller  *oci.Puller
	Catalog *catalog.Catalog // nil: empty
	Flatten Flatten          // nil: WriteExt4
	Log     *slog.Logger
}

// Service is the image service. Its methods may be called concurrently; one process uses a state directory.
type Service struct {
	dirs    paths.Dirs
	records Records
	recipes []recipe.Recipe
	puller  *oci.Puller
	catalog *catalog.Catalog
	flatten Flatten
	log     *slog.Logger

	builds  keylock.Locks // by image name, held while an image of that name is made
	pulls   flights
	publish keylock.Locks // one key, held while records and files change together: never while something is made

	seedSize  int64                                               // of a work seed, bytes
	makeSeed  func(ctx context.Context, rootfs, out string) error // buildSeed but in tests
	failpoint func(step string)                                   // set by tests only, before use: called at each step of a publication or deletion
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
		dirs: o.Dirs, records: o.Records, recipes: o.Recipes, puller: o.Puller, catalog: o.Catalog, flatten: o.Flatten, log: o.Log,
		seedSize: seedSize, makeSeed: buildSeed, failpoint: func(string) {},
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

// Ensure returns the image that reference names and whose files are there. What is not here is made: the name of a recipe
// is built, unless an image has it exactly, and anything else that is no image's name, id, or prefix of either, is pulled
// as [Service.Pull] does. policy says when: oci.PullMissing, which is also meant by the empty one, oci.PullAlways, for
// references that may mean something else by now, or oci.PullNever.
func (s *Service) Ensure(ctx context.Context, reference, policy string) (api.Image, error) {
	images, err := s.records.Images(ctx)
	if err != nil {
		return api.Image{}, fmt.Errorf("find image: %w", err)
	}
	exact := func(i api.Image) bool { return i.Name == reference || i.ID == reference }
	if _, err := s.recipe(reference); err == nil && policy != oci.PullNever && !slices.ContainsFunc(images, exact) {
		i, err := s.Build(ctx, api.ImageBuild{Recipe: reference})
		if errors.Is(err, errdefs.ErrExists) { // made from something else since the look above
			return s.Get(ctx, reference)
		}
		return i, err
	}
	i, err := ref.Resolve("image", images, idAndName, reference)
	switch {
	case err == nil && (policy != oci.PullAlways || !refreshable(i)):
		return i, missing(i)
	case err == nil:
		return s.Pull(ctx, api.ImagePull{Reference: strings.TrimPrefix(i.Source, "catalog:"), Name: i.Name, Platform: i.Platform, Kernel: i.Kernel, Policy: policy})
	case !errors.Is(err, errdefs.ErrNotFound) || s.puller == nil:
		return api.Image{}, err
	}
	return s.ensurePulled(ctx, reference, policy, err)
}

// refreshable tells whether the image has a source that may mean something else by now.
func refreshable(i api.Image) bool {
	return i.Kind != registered && i.Digest != "" && !strings.HasPrefix(i.Source, "import:") && !strings.HasPrefix(i.Source, "dockerfile:")
}

// ensurePulled takes the reference as one of OCI. notFound is said of what is none.
func (s *Service) ensurePulled(ctx context.Context, reference, policy string, notFound error) (api.Image, error) {
	if _, err := oci.ParseReference(reference); err != nil {
		return api.Image{}, errdefs.WithHint(notFound, "%v", err)
	}
	req := api.ImagePull{Reference: reference, Policy: policy}
	if policy == "" {
		req.Policy = oci.PullMissing
	}
	i, err := s.Pull(ctx, req)
	if err == nil || ctx.Err() != nil {
		return i, err
	}
	hint := errdefs.Hint(err)
	if hint == "" {
		hint = "no image here is called so, and it was taken for one elsewhere; banger image list shows what there is"
	}
	return i, errdefs.WithHint(fmt.Errorf("%s here; %w", notFound.Error(), err), "%s", hint)
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
				"make it again with `banger image %s`, or delete it", again(i))
		}
	}
	return nil
}

// again is the verb with its arguments that makes the image anew.
func again(i api.Image) string {
	if i.Kind == registered {
		return fmt.Sprintf("register --force --name %s --rootfs FILE", i.Name)
	}
	if recipe, ok := strings.CutPrefix(i.Source, "build:"); ok {
		return fmt.Sprintf("build --force --name %s %s", i.Name, recipe)
	}
	if file, ok := strings.CutPrefix(i.Source, "dockerfile:"); ok {
		return fmt.Sprintf("build --force --name %s -f %s DIR", i.Name, file)
	}
	if name, ok := strings.CutPrefix(i.Source, "catalog:"); ok {
		return fmt.Sprintf("pull --force --name %s %s", i.Name, name)
	}
	if strings.HasPrefix(i.Source, "import:") {
		return fmt.Sprintf("import --force --name %s FILE", i.Name)
	}
	return fmt.Sprintf("pull --force --name %s %s", i.Name, i.Source)
}

// dir is where the files of the image id are.
func (s *Service) dir(id string) string { return filepath.Join(s.dirs.Images(), id) }
