package oci

import (
	"errors"
	"net/http"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
)

const amd64 = "linux/amd64"

// everyCodec is an image with a layer of each compression and media type.
func everyCodec() *testImage {
	plain := func(n uint64) []byte { return tarOf(n, 100_000) }
	return makeImage(amd64,
		testLayer{types.OCILayer, gzipped(plain(1)), plain(1)},
		testLayer{types.OCILayerZStd, zstded(plain(2)), plain(2)},
		testLayer{types.OCIUncompressedLayer, plain(3), plain(3)},
		testLayer{types.DockerLayer, members(plain(4)), plain(4)},
		testLayer{types.DockerUncompressedLayer, plain(5), plain(5)},
		testLayer{types.OCILayer, zstded(plain(6)), plain(6)}, // a wrong media type is no harm
		testLayer{types.OCIUncompressedLayer, nil, nil},
		testLayer{types.OCILayer, gzipped(plain(1)), plain(1)}, // the same again
	)
}

func TestPull(t *testing.T) {
	r, p := newRegistry(t), newPuller(t)
	want := everyCodec()
	r.put(t, "some/app", "v1", want)
	i := resolveOrFail(t, p, Request{Reference: r.ref("some/app:v1"), Platform: amd64})
	wantImage := &Image{
		Reference: r.ref("some/app:v1"), Platform: amd64, Digest: want.digest(), Created: testTime,
		Config: api.ImageConfig{
			Entrypoint: []string{"/bin/server"}, Cmd: []string{"--port", "80"}, Env: []string{"A=b"}, User: "1000:1000",
			Workdir: "/srv", ExposedPorts: []string{"53/udp", "80/tcp"}, Labels: map[string]string{"l": "v"},
		},
	}
	got := &Image{Reference: i.Reference, Platform: i.Platform, Digest: i.Digest, Created: i.Created, Config: i.Config}
	if diff := cmp.Diff(wantImage, got, cmp.AllowUnexported(Image{}, Limits{})); diff != "" {
		t.Error(diff)
	}
	g, ctx := errgroup.WithContext(t.Context())
	g.Go(func() error { return i.Fetch(ctx) })
	checkLayers(t, i, want)
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for h, b := range want.blobs() {
		if !p.store.has(v1.Descriptor{Digest: h, Size: int64(len(b))}) {
			t.Errorf("%s is not in the cache", h)
		}
	}
	checkLayers(t, i, want) // from the cache
	if n := len(r.seen("/blobs/" + want.layers[0].descriptor().Digest.String())); n != 1 {
		t.Errorf("a layer that is there twice was asked for %d times", n)
	}
}

func TestPullDockerSchema2(t *testing.T) {
	r, p := newRegistry(t), newPuller(t)
	want := makeImage(amd64, gzipLayer(1, 1000))
	want.kind = types.DockerManifestSchema2
	want.layers[0].mediaType = types.DockerLayer
	r.put(t, "app", "latest", want.seal())
	checkLayers(t, resolveOrFail(t, p, Request{Reference: r.ref("app"), Platform: amd64}), want)
}

func TestPullPolicies(t *testing.T) {
	r := newRegistry(t)
	old, current := makeImage(amd64, gzipLayer(1, 1000)), makeImage(amd64, gzipLayer(2, 1000))
	r.put(t, "app", "v1", old)
	p := newPuller(t)
	req := Request{Reference: r.ref("app:v1"), Platform: amd64}
	ask := func(policy string, want *testImage) {
		t.Helper()
		req.Policy = policy
		i := resolveOrFail(t, p, req)
		if i.Digest != want.digest() {
			t.Errorf("policy %s gives %s, want %s", policy, i.Digest, want.digest())
		}
		checkLayers(t, i, want)
	}
	req.Policy = PullNever
	if _, err := p.Resolve(t.Context(), req); !errors.Is(err, errdefs.ErrNotFound) || len(r.seen("/")) != 0 {
		t.Errorf("never, with an empty cache: %v after %d requests", err, len(r.seen("/")))
	}
	ask(PullMissing, old)
	r.put(t, "app", "v1", current)
	ask(PullMissing, old)
	ask(PullNever, old)
	ask(PullAlways, current)
	manifests := len(r.seen("/manifests/"))
	ask(PullAlways, current)
	if again := r.seen("/manifests/")[manifests:]; len(again) != 1 || again[0].Method != http.MethodHead {
		t.Errorf("an unchanged tag costs %d requests", len(again))
	}
	r.server.Close()
	ask(PullMissing, current)
	ask(PullNever, current)
	req.Policy, req.Reference = PullAlways, r.ref("app@"+old.digest())
	checkLayers(t, resolveOrFail(t, p, req), old) // what a digest means does not change
	req.Reference = r.ref("app:v1")
	if _, err := p.Resolve(t.Context(), req); !errors.Is(err, errdefs.ErrUnavailable) || errdefs.Hint(err) == "" {
		t.Errorf("always, without a registry: %v, hint %q", err, errdefs.Hint(err))
	}
}

func TestNeverWantsAllLayers(t *testing.T) {
	r, p := newRegistry(t), newPuller(t)
	r.put(t, "app", "v1", makeImage(amd64, gzipLayer(1, 1000)))
	req := Request{Reference: r.ref("app:v1"), Platform: amd64}
	resolveOrFail(t, p, req)
	req.Policy = PullNever
	if _, err := p.Resolve(t.Context(), req); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("got %v, want not found", err)
	}
}

func TestPullIndex(t *testing.T) {
	r, p := newRegistry(t), newPuller(t)
	intel, arm := makeImage(amd64, gzipLayer(1, 1000)), makeImage("linux/arm64/v8", gzipLayer(2, 1000))
	r.put(t, "app", "intel", intel)
	r.put(t, "app", "arm", arm)
	attestation := arm.descriptor()
	attestation.Platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
	index := indexOf(attestation, arm.descriptor(), intel.descriptor())
	r.putManifest(t, "app", "multi", types.OCIImageIndex, index)
	for platform, want := range map[string]*testImage{amd64: intel, "linux/arm64": arm} {
		i := resolveOrFail(t, p, Request{Reference: r.ref("app:multi"), Platform: platform})
		if i.Digest != want.digest() || i.Index != mustHash(index).String() {
			t.Errorf("%s: got %s of %s", platform, i.Digest, i.Index)
		}
	}
	_, err := p.Resolve(t.Context(), Request{Reference: r.ref("app:multi"), Platform: "linux/s390x"})
	if !errors.Is(err, errdefs.ErrNotFound) || errdefs.Hint(err) != "it is for linux/amd64, linux/arm64/v8" {
		t.Errorf("got %v, hint %q", err, errdefs.Hint(err))
	}
	_, err = p.Resolve(t.Context(), Request{Reference: r.ref("app:arm"), Platform: amd64})
	if !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("an image for another processor: got %v", err)
	}
}

func TestBrokenCache(t *testing.T) {
	r, p := newRegistry(t), newPuller(t)
	want := makeImage(amd64, gzipLayer(1, 100_000))
	r.put(t, "app", "v1", want)
	req := Request{Reference: r.ref("app:v1"), Platform: amd64}
	i := resolveOrFail(t, p, req)
	checkLayers(t, i, want)
	for _, h := range []v1.Hash{mustHash(want.manifest), mustHash(want.config)} {
		if err := os.WriteFile(p.store.blob(h), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	layer := p.store.blob(want.layers[0].descriptor().Digest)
	raw, err := os.ReadFile(layer)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)-1] ^= 1
	if err := os.WriteFile(layer, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	i = resolveOrFail(t, p, req) // asks the registry again for the documents
	if _, err := readLayer(t.Context(), i, 0); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("a broken layer gives %v", err)
	}
	checkLayers(t, i, want) // asks again for the layer
}
