package image

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/image/bundle"
	"github.com/banger-dev/banger/internal/image/catalog"
)

// pulledApp is a real image of two files.
func pulledApp(t *testing.T, f *fixture) api.Image {
	t.Helper()
	reference := newHub(t).push(t, "team/app", map[string]string{"hello": "one", "root/.profile": "p"})
	i, err := f.Pull(t.Context(), api.ImagePull{Reference: reference, Platform: here})
	must(t, err)
	return i
}

func TestVerify(t *testing.T) {
	f := newFixture(t).withPuller(t)
	i := pulledApp(t, f)
	_, err := f.Verify(t.Context(), i.Name)
	must(t, err, os.Chmod(i.WorkSeed.Path, 0o600))
	file, err := os.OpenFile(i.WorkSeed.Path, os.O_WRONLY, 0)
	must(t, err)
	_, err = file.WriteAt([]byte("x"), 77)
	must(t, err, file.Close())
	if _, err := f.Ensure(t.Context(), i.Name, ""); err != nil { // the size is right
		t.Error(err)
	}
	if _, err := f.Verify(t.Context(), i.Name); !errors.Is(err, errdefs.ErrUnavailable) || errdefs.Hint(err) == "" {
		t.Errorf("got %v", err)
	}
	must(t, os.Truncate(i.WorkSeed.Path, 4096))
	if _, err := f.Ensure(t.Context(), i.Name, ""); !errors.Is(err, errdefs.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestTagAndSeed(t *testing.T) {
	f := newFixture(t).withPuller(t)
	i := pulledApp(t, f)
	tagged, err := f.Tag(t.Context(), i.Name, api.ImageTag{Name: "other"})
	must(t, err)
	if tagged.ID == i.ID || tagged.Rootfs.SHA256 != i.Rootfs.SHA256 || tagged.Digest != i.Digest {
		t.Errorf("got %+v", tagged)
	}
	if _, err := f.Tag(t.Context(), i.Name, api.ImageTag{Name: "other"}); !errors.Is(err, errdefs.ErrExists) {
		t.Errorf("got %v", err)
	}
	_, err = f.Delete(t.Context(), i.Name)
	must(t, err)
	_, err = f.Verify(t.Context(), "other")
	must(t, err)

	tagged.WorkSeed, tagged.SeedError = nil, "why"
	must(t, f.store.ReplaceImage(t.Context(), tagged))
	seeded, err := f.Seed(t.Context(), "other", api.ImageSeed{})
	must(t, err)
	if seeded.WorkSeed == nil || seeded.SeedError != "" {
		t.Errorf("got %+v", seeded)
	}
	f.consistent(t)
}

func TestRegisterAndPromote(t *testing.T) {
	f := newFixture(t).withPuller(t)
	i := pulledApp(t, f)
	mine := filepath.Join(t.TempDir(), "mine.ext4")
	data, err := os.ReadFile(i.Rootfs.Path)
	must(t, err, os.WriteFile(mine, data, 0o600))
	text := filepath.Join(t.TempDir(), "text")
	must(t, os.WriteFile(text, []byte("text"), 0o600))
	for path, class := range map[string]error{"relative": errdefs.ErrInvalid, text: errdefs.ErrInvalid, t.TempDir(): errdefs.ErrInvalid, mine + "x": errdefs.ErrNotFound} {
		if _, err := f.Register(t.Context(), api.ImageRegister{Name: "mine", Rootfs: path}); !errors.Is(err, class) {
			t.Errorf("%s: %v", path, err)
		}
	}
	before, err := f.Register(t.Context(), api.ImageRegister{Name: "mine", Rootfs: mine})
	must(t, err)
	if _, err := f.Seed(t.Context(), "mine", api.ImageSeed{}); !errors.Is(err, errdefs.ErrState) {
		t.Errorf("got %v", err)
	}
	f.putVM(t, "vm", before.ID)
	after, err := f.Promote(t.Context(), "mine")
	must(t, err)
	if after.Kind != "managed" || after.ID != before.ID || after.Rootfs.Path == mine {
		t.Errorf("got %+v", after)
	}
	must(t, os.Remove(mine))
	_, err = f.Verify(t.Context(), "mine")
	must(t, err)
	if diff := cmp.Diff([]string{"app", "mine"}, f.consistent(t)); diff != "" {
		t.Error(diff)
	}
}

func TestExportPullsToTheSameDigest(t *testing.T) {
	f := newFixture(t).withPuller(t)
	i := pulledApp(t, f)
	for _, cached := range []bool{true, false} {
		if !cached {
			_, err := f.CachePrune(t.Context(), false)
			must(t, err)
		}
		file := filepath.Join(t.TempDir(), "app.tar")
		exported, err := f.Export(t.Context(), i.Name, api.ImageExport{File: file})
		must(t, err)
		again, err := f.Pull(t.Context(), api.ImagePull{Reference: "oci-archive:" + file, Platform: here})
		must(t, err)
		if again.Digest != exported.Digest || cached != (again.Digest == i.Digest) {
			t.Errorf("%s, then %s, then %s", i.Digest, exported.Digest, again.Digest)
		}
		second, err := f.Export(t.Context(), again.Name, api.ImageExport{File: file + "2"})
		must(t, err)
		if !cached && second.Digest != exported.Digest {
			t.Errorf("exported %s, then %s", exported.Digest, second.Digest)
		}
	}
	f.consistent(t)
}

func TestBundleFromCatalog(t *testing.T) {
	f := newFixture(t).withPuller(t)
	i := pulledApp(t, f)
	dir := t.TempDir()
	exported, err := f.Export(t.Context(), i.Name, api.ImageExport{File: filepath.Join(dir, "b.tar.zst"), Format: "bundle"})
	must(t, err)
	digest, err := bundle.ParseDigest(exported.Digest)
	must(t, err)
	document := `{"format": 1, "entries": [{"name": "web", "kind": "image", "url": "b.tar.zst", "sha256": "` + digest + `"}]}`
	must(t, os.WriteFile(filepath.Join(dir, "c.json"), []byte(document), 0o600))
	f.catalog, err = catalog.New(catalog.Options{Sources: []string{filepath.Join(dir, "c.json")}, CacheDir: t.TempDir()})
	must(t, err)
	web, err := f.Ensure(t.Context(), "web", "")
	must(t, err)
	if web.Digest != exported.Digest || web.Source != "catalog:web" || web.WorkSeed == nil || !cmp.Equal(web.Config, i.Config) {
		t.Errorf("got %+v", web)
	}
	again, err := f.Pull(t.Context(), api.ImagePull{Reference: "web"})
	must(t, err)
	if !again.CreatedAt.Equal(web.CreatedAt) {
		t.Error("it was made again")
	}
	f.consistent(t)
}
