package image

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/image/recipe"
	"github.com/banger-dev/banger/internal/paths"
	"github.com/banger-dev/banger/internal/store"
)

func TestMain(m *testing.M) {
	if home := os.Getenv("IMAGE_TEST_CRASH_HOME"); home != "" {
		crash(home, os.Getenv("IMAGE_TEST_CRASH_AT"), os.Getenv("IMAGE_TEST_CRASH_DO"))
	}
	goleak.VerifyTestMain(m)
}

// tiny is a recipe whose archive is its content; what it does when opened, and how it ends, can be chosen.
type tiny struct {
	name    string
	content string
	opened  atomic.Int32
	open    func(ctx context.Context, scratch string) error
	fail    error // of Close
}

func (r *tiny) Name() string            { return r.name }
func (r *tiny) Config() api.ImageConfig { return api.ImageConfig{Cmd: []string{"/bin/" + r.name}} }

func (r *tiny) Open(ctx context.Context, scratch string) (recipe.Stream, error) {
	r.opened.Add(1)
	if err := os.WriteFile(filepath.Join(scratch, "temporary"), nil, 0o600); err != nil {
		return nil, err
	}
	if r.open != nil {
		if err := r.open(ctx, scratch); err != nil {
			return nil, err
		}
	}
	return &tinyStream{Reader: strings.NewReader(r.content), err: r.fail}, nil
}

type tinyStream struct {
	io.Reader
	err error
}

func (s *tinyStream) Close() error { return s.err }

// copyFlat stands for WriteExt4: the archive becomes the root file system as it is.
func copyFlat(_ context.Context, tar io.Reader, rootfs, seed *os.File) error {
	_, err := io.Copy(rootfs, tar)
	_, seedErr := seed.WriteString("seed")
	return errors.Join(err, seedErr)
}

// openService makes a service in home, with the recipes a and b.
func openService(ctx context.Context, home string) (*Service, *store.Store, error) {
	d := paths.Dirs{
		Config: filepath.Join(home, "config"), State: filepath.Join(home, "state"),
		Cache: filepath.Join(home, "cache"), Runtime: filepath.Join(home, "run"),
	}
	if err := d.Make(); err != nil {
		return nil, nil, err
	}
	s, err := store.Open(ctx, d.Database())
	if err != nil {
		return nil, nil, err
	}
	recipes := []recipe.Recipe{&tiny{name: "a", content: "archive a"}, &tiny{name: "b", content: "archive b"}}
	return New(Options{Dirs: d, Records: s, Recipes: recipes, Flatten: copyFlat, Log: slog.New(slog.DiscardHandler)}), s, nil
}

type fixture struct {
	*Service
	store *store.Store
	a, b  *tiny
}

func newFixture(t *testing.T) *fixture { return openFixture(t, t.TempDir()) }

func openFixture(t *testing.T, home string) *fixture {
	t.Helper()
	s, records, err := openService(t.Context(), home)
	must(t, err)
	t.Cleanup(func() {
		if err := records.Close(); err != nil {
			t.Error(err)
		}
	})
	return &fixture{s, records, s.recipes[0].(*tiny), s.recipes[1].(*tiny)}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// consistent checks that records and files agree, and that nothing is staged. It returns the images' names.
func (f *fixture) consistent(t *testing.T) (names []string) {
	t.Helper()
	images, err := f.List(t.Context())
	must(t, err)
	ids := map[string]bool{}
	for _, i := range images {
		ids[i.ID] = true
		names = append(names, i.Name)
		if err := missing(i); err != nil {
			t.Error(err)
		}
	}
	for _, dir := range entries(t, f.dirs.Images()) {
		if !ids[dir] {
			t.Errorf("directory %s has no record", dir)
		}
	}
	if left := entries(t, f.dirs.Staging()); len(left) > 0 {
		t.Errorf("staging holds %v", left)
	}
	return names
}

func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	all, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

// putVM records a VM of the image.
func (f *fixture) putVM(t *testing.T, name, imageID string) {
	t.Helper()
	err := f.store.PutKernel(t.Context(), api.Kernel{ID: "k", Name: "k"})
	_ = err // it may be there
	must(t, f.store.PutVM(t.Context(), store.VMRecord{VM: api.VM{ID: name, Name: name, ImageID: imageID}, KernelID: "k"}))
}
