package image

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
)

func TestBuild(t *testing.T) {
	f := newFixture(t)
	got, err := f.Build(t.Context(), api.ImageBuild{Recipe: "a"})
	must(t, err)
	dir := filepath.Join(f.dirs.Images(), got.ID)
	want := api.Image{
		ID: got.ID, Name: "a", Kind: "managed", Source: "build:a", Config: api.ImageConfig{Cmd: []string{"/bin/a"}},
		Rootfs: api.File{
			Path: filepath.Join(dir, "rootfs.ext4"), Size: 9,
		},
		WorkSeed: &api.File{Path: filepath.Join(dir, "work-seed.ext4"), Size: 4},
	}
	ignore := cmpopts.IgnoreFields(api.File{}, "Allocated", "SHA256")
	if diff := cmp.Diff(want, got, ignore, cmpopts.IgnoreFields(api.Image{}, "CreatedAt")); diff != "" {
		t.Error(diff)
	}
	for _, reference := range []string{"a", got.ID, got.ID[:5]} {
		if found, err := f.Get(t.Context(), reference); err != nil || !cmp.Equal(got, found) {
			t.Errorf("get %q: %v\n%s", reference, err, cmp.Diff(got, found))
		}
	}
	for _, file := range []api.File{got.Rootfs, *got.WorkSeed} {
		info, err := os.Stat(file.Path)
		must(t, err)
		if info.Mode() != 0o400 {
			t.Errorf("%s has mode %v", file.Path, info.Mode())
		}
	}
	if files := entries(t, dir); len(files) != 2 {
		t.Errorf("published are %v", files)
	}
	if content, err := os.ReadFile(got.Rootfs.Path); string(content) != "archive a" {
		t.Errorf("root file system %q, %v", content, err)
	}
	f.consistent(t)
}

func TestBuildRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		req   api.ImageBuild
		class error
		text  string
	}{
		{"no such recipe", api.ImageBuild{Recipe: "c"}, errdefs.ErrInvalid, `build image: there is no recipe "c"`},
		{"bad name", api.ImageBuild{Recipe: "a", Name: "../a"}, errdefs.ErrInvalid, `image name "../a" is not valid`},
		{"name taken", api.ImageBuild{Recipe: "b", Name: "a"}, errdefs.ErrExists, `build image "a": image "a" exists`},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			_, err := f.Build(t.Context(), api.ImageBuild{Recipe: "a"})
			must(t, err)
			_, err = f.Build(t.Context(), c.req)
			if !errors.Is(err, c.class) || err.Error() != c.text || errdefs.Hint(err) == "" {
				t.Errorf("got %v (hint %q), want %s", err, errdefs.Hint(err), c.text)
			}
			f.consistent(t)
		})
	}
}

func TestFailedBuildLeavesNothing(t *testing.T) {
	why := errors.New("why")
	for name, breakIt := range map[string]func(*fixture){
		"recipe does not open": func(f *fixture) {
			f.a.open = func(context.Context, string) error { return why }
		},
		"recipe fails at its end": func(f *fixture) { f.a.fail = why },
		"recipe fails, which breaks the stream": func(f *fixture) {
			f.a.fail = why
			f.flatten = func(context.Context, io.Reader, *os.File, *os.File) error { return io.ErrUnexpectedEOF }
		},
		"stream cannot be written": func(f *fixture) {
			f.flatten = func(context.Context, io.Reader, *os.File, *os.File) error { return why }
		},
		"scratch cannot be entered": func(f *fixture) {
			f.a.open = func(_ context.Context, scratch string) error {
				return errors.Join(why, os.MkdirAll(filepath.Join(scratch, "d/d"), 0o700), os.Chmod(filepath.Join(scratch, "d"), 0))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			breakIt(f)
			if _, err := f.Build(t.Context(), api.ImageBuild{Recipe: "a"}); !errors.Is(err, why) {
				t.Errorf("got %v", err)
			}
			if names := f.consistent(t); len(names) != 0 {
				t.Errorf("images %v", names)
			}
		})
	}
}

func TestBuildNeedsTheWholeStream(t *testing.T) {
	f := newFixture(t)
	f.flatten = func(context.Context, io.Reader, *os.File, *os.File) error { return nil }
	_, err := f.Build(t.Context(), api.ImageBuild{Recipe: "a"})
	if err == nil || !strings.Contains(err.Error(), "goes on behind its end") {
		t.Errorf("got %v", err)
	}
}

func TestForcedBuild(t *testing.T) {
	f := newFixture(t)
	build := func() api.Image {
		i, err := f.Build(t.Context(), api.ImageBuild{Recipe: "a", Name: "x", Force: true})
		must(t, err)
		return i
	}
	first := build()
	same := build()
	if same.ID != first.ID || !same.CreatedAt.After(first.CreatedAt) {
		t.Errorf("the same content gave %+v, then %+v", first, same)
	}
	f.a.content = "other"
	second := build()
	if second.ID == first.ID {
		t.Error("other content has the same id")
	}
	f.putVM(t, "vm", second.ID)
	f.a.content = "third"
	third := build()
	if diff := cmp.Diff([]string{"x", "x-" + second.ID}, f.consistent(t)); diff != "" {
		t.Error(diff)
	}
	if i, err := f.Get(t.Context(), "x"); err != nil || i.ID != third.ID {
		t.Errorf("x is %v, %v", i.ID, err)
	}
	if _, err := f.Delete(t.Context(), second.ID); !errors.Is(err, errdefs.ErrInUse) {
		t.Errorf("got %v", err)
	}
}

func TestForcedBuildRepairs(t *testing.T) {
	f := newFixture(t)
	first, err := f.Build(t.Context(), api.ImageBuild{Recipe: "a"})
	must(t, err, os.Remove(first.Rootfs.Path))
	if _, err := f.Ensure(t.Context(), "a", ""); !errors.Is(err, errdefs.ErrUnavailable) || errdefs.Hint(err) == "" {
		t.Errorf("got %v", err)
	}
	second, err := f.Build(t.Context(), api.ImageBuild{Recipe: "a", Force: true})
	must(t, err)
	if second.ID != first.ID {
		t.Error("the same content has another id")
	}
	f.consistent(t)
}

func TestNamesNeverShareFiles(t *testing.T) {
	f := newFixture(t)
	x, err1 := f.Build(t.Context(), api.ImageBuild{Recipe: "a", Name: "x"})
	y, err2 := f.Build(t.Context(), api.ImageBuild{Recipe: "a", Name: "y"})
	must(t, err1, err2)
	if x.ID == y.ID || x.Rootfs.SHA256 != y.Rootfs.SHA256 {
		t.Errorf("ids %s and %s", x.ID, y.ID)
	}
	_, err := f.Delete(t.Context(), "x")
	must(t, err)
	f.consistent(t)
}

func TestDelete(t *testing.T) {
	f := newFixture(t)
	built, err := f.Build(t.Context(), api.ImageBuild{Recipe: "a"})
	must(t, err)
	f.putVM(t, "vm-1", built.ID)
	_, err = f.Delete(t.Context(), "a")
	if !errors.Is(err, errdefs.ErrInUse) || !strings.Contains(err.Error(), "vm-1") || !strings.HasPrefix(err.Error(), `delete image "a": `) {
		t.Errorf("got %v", err)
	}
	must(t, missing(built), f.store.DeleteVM(t.Context(), "vm-1"))
	deleted, err := f.Delete(t.Context(), built.ID[:4])
	must(t, err)
	if deleted.ID != built.ID {
		t.Errorf("deleted %+v", deleted)
	}
	if _, err := f.Delete(t.Context(), "a"); err == nil || err.Error() != `image "a" not found` {
		t.Errorf("got %v", err)
	}
	if _, err := f.Delete(t.Context(), ""); err == nil || err.Error() != "image id or name is required" {
		t.Errorf("got %v", err)
	}
	f.consistent(t)
}

func TestEnsure(t *testing.T) {
	f := newFixture(t)
	other, err := f.Build(t.Context(), api.ImageBuild{Recipe: "b", Name: "a-b"})
	must(t, err)
	for _, c := range []struct {
		reference, name string
		class           error
	}{
		{"a", "a", nil}, // a recipe's name is not a prefix
		{"a", "a", nil},
		{"a-", "a-b", nil},
		{other.ID, "a-b", nil},
		{"x", "", errdefs.ErrNotFound},
		{"", "", errdefs.ErrInvalid},
	} {
		i, err := f.Ensure(t.Context(), c.reference, "")
		if i.Name != c.name || !errors.Is(err, c.class) {
			t.Errorf("ensure %q: %q, %v", c.reference, i.Name, err)
		}
	}
	if n := f.a.opened.Load(); n != 1 {
		t.Errorf("built %d times", n)
	}
}

func TestSweep(t *testing.T) {
	f := newFixture(t)
	kept, err := f.Build(t.Context(), api.ImageBuild{Recipe: "a"})
	must(t, err)
	broken, err := f.Build(t.Context(), api.ImageBuild{Recipe: "b"})
	must(t, err, os.Remove(broken.WorkSeed.Path),
		os.MkdirAll(filepath.Join(f.dirs.Images(), "orphan", "sub"), 0o700),
		os.MkdirAll(filepath.Join(f.dirs.Staging(), "image-x"), 0o700))
	must(t, f.Sweep(t.Context()))
	if diff := cmp.Diff([]string{kept.ID, broken.ID}, entries(t, f.dirs.Images()), cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Error(diff)
	}
	problems, err := f.Problems(t.Context())
	must(t, err)
	if len(problems) != 1 || problems["b"] == nil {
		t.Errorf("problems %v", problems)
	}
	_, err = f.Delete(t.Context(), "b")
	must(t, err)
	f.consistent(t)
}
