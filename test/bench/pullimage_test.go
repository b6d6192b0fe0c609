//go:build bench

package bench

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
)

// layerSources are where the layers' files come from: each layer begins with a directory of its own, and goes on with the
// others until it is large enough. What is taken follows from the host's files and the size alone.
var layerSources = []string{"/usr/lib/" + multiarch(), "/usr/share", "/usr/lib", "/usr"}

func multiarch() string {
	return map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH] + "-linux-gnu"
}

// ociImage is an image in a directory, as an OCI layout with the tag bench.
type ociImage struct {
	dir          string
	layers       []string // files, gzip
	size, stored int64    // bytes of all layers' tars, and compressed
	files        int
}

// makeImage makes an image whose layers have size bytes together, or what the host has.
func makeImage(t *testing.T, dir string, size int64) ociImage {
	t.Helper()
	img := ociImage{dir: dir}
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o700); err != nil {
		t.Fatal(err)
	}
	config := v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH, RootFS: v1.RootFS{Type: "layers"}}
	manifest := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1}
	taken := make(map[string]bool)
	for n := range layerSources {
		sources := append(append([]string(nil), layerSources[n:]...), layerSources[:n]...)
		l, err := writeLayer(blobs, sources, size/int64(len(layerSources)), taken)
		if err != nil {
			t.Fatal(err)
		}
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.diffID)
		manifest.Layers = append(manifest.Layers, l.descriptor)
		img.layers = append(img.layers, filepath.Join(blobs, l.descriptor.Digest.Hex))
		img.size, img.stored = img.size+l.size, img.stored+l.descriptor.Size
	}
	img.files = len(taken)
	manifest.Config = putJSON(t, blobs, types.OCIConfigJSON, config)
	top := putJSON(t, blobs, types.OCIManifestSchema1, manifest)
	top.Annotations = map[string]string{"org.opencontainers.image.ref.name": "bench"}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{top}}
	raw, err := json.Marshal(index)
	if err = errors.Join(err, os.WriteFile(filepath.Join(dir, "index.json"), raw, 0o600),
		os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o600)); err != nil {
		t.Fatal(err)
	}
	return img
}

func putJSON(t *testing.T, blobs string, kind types.MediaType, v any) v1.Descriptor {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	if err = errors.Join(err, os.WriteFile(filepath.Join(blobs, digest.Hex), raw, 0o600)); err != nil {
		t.Fatal(err)
	}
	return v1.Descriptor{MediaType: kind, Digest: digest, Size: size}
}

type layer struct {
	descriptor v1.Descriptor
	diffID     v1.Hash
	size       int64
}

// writeLayer writes the first files of sources that are not taken yet.
func writeLayer(blobs string, sources []string, size int64, taken map[string]bool) (l layer, err error) {
	f, err := os.CreateTemp(blobs, "layer-")
	if err != nil {
		return l, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	stored, plain := sha256.New(), sha256.New()
	z := gzip.NewWriter(io.MultiWriter(f, stored))
	count := &counter{w: io.MultiWriter(z, plain)}
	archive := tar.NewWriter(count)
	for _, dir := range sources {
		if err := addFiles(archive, count, dir, size, taken); err != nil {
			return l, err
		}
	}
	if err := errors.Join(archive.Close(), z.Close()); err != nil {
		return l, err
	}
	info, err := f.Stat()
	if err != nil {
		return l, err
	}
	l = layer{v1.Descriptor{MediaType: types.OCILayer, Digest: digestOf(stored), Size: info.Size()}, digestOf(plain), count.n}
	return l, os.Rename(f.Name(), filepath.Join(blobs, l.descriptor.Digest.Hex))
}

func digestOf(h hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h.Sum(nil))}
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// addFiles adds what is below dir, in the order of names, until written has size bytes. A directory whose files another
// layer took comes again, as it does in images that were built step by step.
func addFiles(archive *tar.Writer, written *counter, dir string, size int64, taken map[string]bool) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || written.n >= size {
			return cmp.Or(err, fs.SkipAll)
		}
		kind := d.Type()
		if taken[path] || !kind.IsRegular() && !d.IsDir() && kind != fs.ModeSymlink {
			return nil
		}
		info, err := d.Info()
		if err != nil || info.Size() > size-written.n+1<<20 && kind.IsRegular() {
			return err
		}
		taken[path] = !d.IsDir()
		return addFile(archive, path, info)
	})
}

func addFile(archive *tar.Writer, path string, info fs.FileInfo) error {
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		var err error
		if target, err = os.Readlink(path); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	h.Name, h.Uid, h.Gid, h.Uname, h.Gname = strings.TrimPrefix(path, "/"), 0, 0, "", ""
	h.ModTime = h.ModTime.Truncate(time.Second)
	if info.IsDir() {
		h.Name += "/"
	}
	if err := archive.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(archive, f)
	return err
}

// startRegistry runs docker-registry, or where it is not installed go-containerregistry's, on loopback until the test's
// end, and returns its address.
func startRegistry(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("docker-registry"); err != nil {
		t.Log("docker-registry is not installed: the registry is go-containerregistry's, in this process")
		server := httptest.NewServer(registry.New(registry.WithBlobHandler(registry.NewDiskBlobHandler(t.TempDir())), registry.Logger(log.New(io.Discard, "", 0))))
		t.Cleanup(server.Close)
		return server.Listener.Addr().String()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close() // for the registry, which cannot choose itself
	dir := t.TempDir()
	config := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n", dir, address)
	path := filepath.Join(t.TempDir(), "config.yml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-registry", "serve", path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	awaitListener(t, address)
	return address
}

func awaitListener(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("the registry does not listen: %v", err)
		}
	}
}
