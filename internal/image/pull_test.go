package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/image/oci"
)

// hub is a registry on the loopback interface. hold, when set, makes blobs wait for it or for their request's end.
type hub struct {
	host  string
	blobs atomic.Int32 // that were asked for
	hold  atomic.Pointer[chan struct{}]
}

func newHub(t *testing.T) *hub {
	t.Helper()
	h := &hub{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			h.blobs.Add(1)
			if gate := h.hold.Load(); gate != nil {
				select {
				case <-*gate:
				case <-r.Context().Done():
				}
			}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	h.host = strings.TrimPrefix(server.URL, "http://")
	return h
}

// push stores an image of one layer with the given files under repo.
func (h *hub) push(t *testing.T, repo string, files map[string]string) (reference string) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for path, content := range files {
		must(t, w.WriteHeader(&tar.Header{Name: path, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}))
		_, err := io.WriteString(w, content)
		must(t, err)
	}
	must(t, w.Close())
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	must(t, err)
	image, err := mutate.AppendLayers(empty.Image, layer)
	must(t, err)
	config, err := image.ConfigFile()
	must(t, err)
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	config.Config = v1.Config{Entrypoint: []string{"/hello"}, Labels: map[string]string{"k": "v"}}
	image, err = mutate.ConfigFile(image, config)
	must(t, err)
	ref, err := name.ParseReference(h.host + "/" + repo)
	must(t, err)
	must(t, remote.Write(ref, image))
	return ref.String()
}

func (f *fixture) withPuller(t *testing.T) *fixture {
	t.Helper()
	f.seedSize = 8 << 20 // to hash a larger one takes a second
	f.puller = oci.New(oci.Options{CacheDir: t.TempDir(), Env: func(string) (string, bool) { return "", false }})
	t.Cleanup(func() { must(t, f.puller.Close()) })
	return f
}

const here = "linux/amd64"

func TestPull(t *testing.T) {
	f, h := newFixture(t).withPuller(t), newHub(t)
	reference := h.push(t, "team/app:1.0", map[string]string{"hello": "one", "root/.profile": "p"})
	first, err := f.Pull(t.Context(), api.ImagePull{Reference: reference, Platform: here})
	must(t, err)
	if first.Name != "app-1-0" || first.Source != reference || first.Digest == "" || first.WorkSeed == nil ||
		first.Config.Entrypoint[0] != "/hello" || first.Labels["k"] != "v" {
		t.Errorf("got %+v", first)
	}
	again, err := f.Pull(t.Context(), api.ImagePull{Reference: reference, Platform: here})
	must(t, err)
	if again.ID != first.ID || h.blobs.Load() != 2 { // configuration and layer
		t.Errorf("pulled again: %+v with %d blobs", again, h.blobs.Load())
	}
	h.push(t, "team/app:1.0", map[string]string{"hello": "two"})
	missing, err := f.Ensure(t.Context(), reference, "")
	must(t, err)
	moved, err := f.Pull(t.Context(), api.ImagePull{Reference: reference, Platform: here})
	must(t, err)
	if missing.ID != first.ID || moved.ID == first.ID || moved.Name != first.Name {
		t.Errorf("after the tag moved: %s, then %s, then %s", first.ID, missing.ID, moved.ID)
	}
	other, err := f.Pull(t.Context(), api.ImagePull{Reference: h.push(t, "others/app:1.0", map[string]string{"x": "y"}), Platform: here})
	must(t, err)
	if !strings.HasPrefix(other.Name, "app-1-0-") {
		t.Errorf("the other image is called %q", other.Name)
	}
	f.consistent(t)
}

func TestPullRefuses(t *testing.T) {
	f, h := newFixture(t).withPuller(t), newHub(t)
	reference := h.push(t, "team/app", map[string]string{"hello": "one"})
	_, err := f.Build(t.Context(), api.ImageBuild{Recipe: "a"})
	must(t, err)
	for _, c := range []struct {
		name  string
		req   api.ImagePull
		class error
	}{
		{"bad name", api.ImagePull{Reference: reference, Name: "A"}, errdefs.ErrInvalid},
		{"bad reference", api.ImagePull{Reference: "A B"}, errdefs.ErrInvalid},
		{"not there", api.ImagePull{Reference: reference + "x", Platform: here}, errdefs.ErrNotFound},
		{"not cached", api.ImagePull{Reference: reference, Policy: oci.PullNever}, errdefs.ErrNotFound},
		{"name taken", api.ImagePull{Reference: reference, Name: "a", Platform: here}, errdefs.ErrExists},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := f.Pull(t.Context(), c.req); !errors.Is(err, c.class) {
				t.Errorf("got %v", err)
			}
			f.consistent(t)
		})
	}
}

// TestSharedPull lets the first of two callers go: the pull goes on for the second, and ends with that one.
func TestSharedPull(t *testing.T) {
	f, h := newFixture(t).withPuller(t), newHub(t)
	req := api.ImagePull{Reference: h.push(t, "team/app", map[string]string{"hello": "one"}), Platform: here}
	gate := make(chan struct{})
	h.hold.Store(&gate)
	joined := make(chan struct{}, 2)
	f.pulls.joined = func() { joined <- struct{}{} }
	pull := func(ctx context.Context) <-chan result {
		done := make(chan result, 1)
		go func() {
			i, err := f.Pull(ctx, req)
			done <- result{i, err}
		}()
		<-joined
		return done
	}
	ctx, cancel := context.WithCancel(t.Context())
	first, second := pull(ctx), pull(t.Context())
	cancel()
	if err := (<-first).err; !errors.Is(err, context.Canceled) {
		t.Errorf("first: %v", err)
	}
	close(gate)
	must(t, (<-second).err)

	gate = make(chan struct{})
	h.hold.Store(&gate)
	req.Reference = h.push(t, "team/app:2", map[string]string{"hello": "two"})
	ctx, cancel = context.WithCancel(t.Context())
	last := pull(ctx)
	cancel()
	if err := (<-last).err; !errors.Is(err, context.Canceled) {
		t.Errorf("last: %v", err)
	}
	if names := f.consistent(t); len(names) != 1 {
		t.Errorf("images %v", names)
	}
}

func TestSeedFailureIsNotFatal(t *testing.T) {
	f, h := newFixture(t).withPuller(t), newHub(t)
	f.makeSeed = func(context.Context, string, string) error { return errors.New("why") }
	reference := h.push(t, "team/app", map[string]string{"root/big": strings.Repeat("x", 12<<20)})
	i, err := f.Pull(t.Context(), api.ImagePull{Reference: reference, Platform: here})
	must(t, err)
	if i.WorkSeed != nil || i.SeedError != "why" {
		t.Errorf("got %+v", i)
	}
	f.makeSeed = buildSeed
	i, err = f.Pull(t.Context(), api.ImagePull{Reference: reference, Platform: here, Force: true})
	must(t, err)
	if i.WorkSeed == nil || i.SeedError != "" || i.WorkSeed.Size < 24<<20 {
		t.Errorf("got %+v", i)
	}
	f.consistent(t)
	if _, err := os.Stat(i.WorkSeed.Path); err != nil {
		t.Error(err)
	}
}

func TestNamesFor(t *testing.T) {
	for reference, want := range map[string]string{
		"docker.io/library/alpine:latest":      "alpine",
		"localhost:5000/a/b_c:V1.2":            "b-c-v1-2",
		"oci-archive:/tmp/x.tar.gz":            "x",
		"oci:/tmp/layout:v1":                   "layout-v1",
		"x@sha256:" + strings.Repeat("ab", 32): "x-abababababab",
	} {
		got := namesFor(reference)
		if got[0] != want || !strings.HasPrefix(got[1], got[0]+"-") {
			t.Errorf("%s: %v, want %s", reference, got, want)
		}
	}
}
