package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // where operations without a logger report
	goleak.VerifyTestMain(m)
}

// testLayer is a layer as it is stored, and as it is.
type testLayer struct {
	mediaType types.MediaType
	stored    []byte
	plain     []byte
}

func (l testLayer) descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: l.mediaType, Size: int64(len(l.stored)), Digest: mustHash(l.stored)}
}

func mustHash(b []byte) v1.Hash {
	h, err := hashOf("sha256", b)
	if err != nil {
		panic(err)
	}
	return h
}

// tarOf makes an archive of one file with n incompressible bytes, the same for the same seed.
func tarOf(seed uint64, n int) []byte {
	content := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	r.Read(content)
	return tarFile(map[string][]byte{fmt.Sprintf("file-%d", seed): content})
}

func tarFile(files map[string][]byte) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
		w.Write(content)
	}
	w.Close()
	return b.Bytes()
}

func gzipped(plain []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(plain)
	w.Close()
	return b.Bytes()
}

// members compresses as eStargz does: many gzip members in one file.
func members(plain []byte) []byte {
	var b []byte
	for len(plain) > 0 {
		n := min(10_000, len(plain))
		b = append(b, gzipped(plain[:n])...)
		plain = plain[n:]
	}
	return b
}

func zstded(plain []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	defer w.Close()
	return w.EncodeAll(plain, nil)
}

func gzipLayer(seed uint64, n int) testLayer {
	plain := tarOf(seed, n)
	return testLayer{mediaType: types.OCILayer, stored: gzipped(plain), plain: plain}
}

// testImage is an image with everything that is stored of it.
type testImage struct {
	kind     types.MediaType
	platform v1.Platform
	layers   []testLayer
	config   []byte
	manifest []byte
}

var testTime = time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)

func makeImage(platform string, layers ...testLayer) *testImage {
	i := &testImage{kind: types.OCIManifestSchema1, layers: layers}
	p, err := v1.ParsePlatform(platform)
	if err != nil {
		panic(err)
	}
	i.platform = *p
	ids := []string{}
	for _, l := range layers {
		ids = append(ids, mustHash(l.plain).String())
	}
	i.config = mustJSON(map[string]any{
		"os": p.OS, "architecture": p.Architecture, "variant": p.Variant, "created": testTime,
		"config": map[string]any{
			"Entrypoint": []string{"/bin/server"}, "Cmd": []string{"--port", "80"}, "Env": []string{"A=b"}, "User": "1000:1000",
			"WorkingDir": "/srv", "ExposedPorts": map[string]any{"80/tcp": struct{}{}, "53/udp": struct{}{}}, "Labels": map[string]string{"l": "v"},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": ids},
	})
	return i.seal()
}

// seal makes the manifest anew after a change.
func (i *testImage) seal() *testImage {
	m := v1.Manifest{
		SchemaVersion: 2, MediaType: i.kind, Layers: []v1.Descriptor{},
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Size: int64(len(i.config)), Digest: mustHash(i.config)},
	}
	if i.kind == types.DockerManifestSchema2 {
		m.Config.MediaType = types.DockerConfigJSON
	}
	for _, l := range i.layers {
		m.Layers = append(m.Layers, l.descriptor())
	}
	i.manifest = mustJSON(m)
	return i
}

func (i *testImage) digest() string { return mustHash(i.manifest).String() }

func (i *testImage) descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: i.kind, Size: int64(len(i.manifest)), Digest: mustHash(i.manifest), Platform: &i.platform}
}

// blobs are what a registry or layout stores, by digest.
func (i *testImage) blobs() map[v1.Hash][]byte {
	m := map[v1.Hash][]byte{mustHash(i.config): i.config}
	for _, l := range i.layers {
		m[mustHash(l.stored)] = l.stored
	}
	return m
}

func indexOf(descriptors ...v1.Descriptor) []byte {
	return mustJSON(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: descriptors})
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// testRegistry is a real registry behind a handler that tests can put in its way.
type testRegistry struct {
	handler http.Handler
	server  *httptest.Server

	mu       sync.Mutex
	front    func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	requests []*http.Request
}

func newRegistry(t *testing.T) *testRegistry {
	t.Helper()
	r := newUnstarted()
	r.server = httptest.NewServer(r)
	t.Cleanup(r.server.Close)
	return r
}

func newUnstarted() *testRegistry {
	return &testRegistry{handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
}

func (r *testRegistry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, req)
	front := r.front
	r.mu.Unlock()
	if front != nil && front(w, req) {
		return
	}
	r.handler.ServeHTTP(w, req)
}

func (r *testRegistry) intercept(f func(w http.ResponseWriter, r *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.front = f
}

// seen returns the requests whose path contains part, and forgets none.
func (r *testRegistry) seen(part string) []*http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []*http.Request
	for _, q := range r.requests {
		if strings.Contains(q.URL.Path, part) {
			found = append(found, q)
		}
	}
	return found
}

func (r *testRegistry) host() string { return r.server.Listener.Addr().String() }

func (r *testRegistry) ref(rest string) string { return r.host() + "/" + rest }

// put stores an image below a name, past the front.
func (r *testRegistry) put(t *testing.T, repo, tag string, i *testImage) {
	t.Helper()
	for h, b := range i.blobs() {
		r.do(t, http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+h.String(), "application/octet-stream", b)
	}
	r.putManifest(t, repo, tag, i.kind, i.manifest)
}

func (r *testRegistry) putManifest(t *testing.T, repo, tag string, kind types.MediaType, raw []byte) {
	t.Helper()
	r.do(t, http.MethodPut, "/v2/"+repo+"/manifests/"+tag, string(kind), raw)
}

func (r *testRegistry) do(t *testing.T, method, path, kind string, body []byte) {
	t.Helper()
	req := httptest.NewRequest(method, path, bytes.NewReader(body))
	req.Header.Set("Content-Type", kind)
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	if w.Code/100 != 2 {
		t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
}

// newPuller has no credentials, an own cache, and does not wait long.
func newPuller(t *testing.T) *Puller { return pullerAt(t, t.TempDir(), nil) }

func pullerAt(t *testing.T, dir string, env map[string]string) *Puller {
	t.Helper()
	p := New(Options{
		CacheDir: dir,
		Env:      func(k string) (string, bool) { v, ok := env[k]; return v, ok },
		Log:      slog.New(slog.NewTextHandler(testWriter{t}, nil)),
	})
	p.retry.base, p.retry.longest = time.Millisecond, 5*time.Millisecond
	p.running.retry = p.retry
	t.Cleanup(func() { p.Close() })
	return p
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func resolveOrFail(t *testing.T, p *Puller, r Request) *Image {
	t.Helper()
	i, err := p.Resolve(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Close() })
	return i
}

func readLayer(ctx context.Context, i *Image, n int) ([]byte, error) {
	r, err := i.Open(ctx, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// checkLayers reads all layers and compares them.
func checkLayers(t *testing.T, i *Image, want *testImage) {
	t.Helper()
	if len(i.Layers) != len(want.layers) {
		t.Fatalf("%d layers, want %d", len(i.Layers), len(want.layers))
	}
	for n := range i.Layers {
		got, err := readLayer(t.Context(), i, n)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want.layers[n].plain) {
			t.Errorf("layer %d: %d bytes differ from the %d that were stored", n, len(got), len(want.layers[n].plain))
		}
	}
}
