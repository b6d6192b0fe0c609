package oci

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/banger-dev/banger/internal/errdefs"
)

// layoutFiles is an OCI layout as name: content. Each descriptor is an image of index.json.
func layoutFiles(descriptors []v1.Descriptor, images ...*testImage) map[string][]byte {
	files := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`), "index.json": indexOf(descriptors...)}
	for _, i := range images {
		files[blobName(mustHash(i.manifest))] = i.manifest
		for h, b := range i.blobs() {
			files[blobName(h)] = b
		}
	}
	return files
}

func tagged(d v1.Descriptor, tag string) v1.Descriptor {
	d.Annotations = map[string]string{refNameAnnotation: tag}
	return d
}

func writeLayout(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		writeFile(t, filepath.Join(dir, name), string(content), 0o600)
	}
	return dir
}

func writeArchive(t *testing.T, content []byte) string {
	t.Helper()
	return writeFile(t, filepath.Join(t.TempDir(), "image.tar"), string(content), 0o600)
}

func TestLayoutAndArchive(t *testing.T) {
	a, b, arm := everyCodec(), makeImage(amd64, gzipLayer(7, 1000)), makeImage("linux/arm64", gzipLayer(8, 1000))
	files := layoutFiles([]v1.Descriptor{
		tagged(a.descriptor(), "a"), tagged(b.descriptor(), "docker.io/library/b:latest"),
		tagged(b.descriptor(), "multi"), tagged(arm.descriptor(), "multi"),
	}, a, b, arm)
	packed := tarFile(files)
	refs := map[string]string{
		"directory":       "oci:" + writeLayout(t, files),
		"archive":         "oci-archive:" + writeArchive(t, packed),
		"gzipped archive": "oci-archive:" + writeArchive(t, gzipped(packed)),
		"zstd archive":    "archive:" + writeArchive(t, zstded(packed)),
	}
	for name, ref := range refs {
		t.Run(name, func(t *testing.T) {
			p := newPuller(t)
			for suffix, want := range map[string]*testImage{
				":a": a, ":docker.io/library/b:latest": b, ":b": b, ":multi": b, "@" + arm.digest(): arm,
			} {
				r := Request{Reference: ref + suffix, Platform: amd64, Policy: PullNever}
				if want == arm {
					r.Platform = "linux/arm64"
				}
				i := resolveOrFail(t, p, r)
				if i.Digest != want.digest() || i.Reference != r.Reference {
					t.Errorf("%s: got %s of %s", suffix, i.Digest, i.Reference)
				}
				if err := i.Fetch(t.Context()); err != nil {
					t.Error(err)
				}
				checkLayers(t, i, want)
			}
			for suffix, class := range map[string]error{"": errdefs.ErrAmbiguous, ":c": errdefs.ErrNotFound, "@" + someDigest: errdefs.ErrNotFound} {
				if _, err := p.Resolve(t.Context(), Request{Reference: ref + suffix, Platform: amd64}); !errors.Is(err, class) {
					t.Errorf("%q: got %v", suffix, err)
				}
			}
		})
	}
}

func TestLayoutWithOneIndex(t *testing.T) { // as buildx writes it
	want := makeImage(amd64, gzipLayer(1, 1000))
	attestation := v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: mustHash(nil), Platform: &v1.Platform{OS: "unknown"}}
	index := indexOf(want.descriptor(), attestation)
	files := layoutFiles([]v1.Descriptor{{MediaType: types.OCIImageIndex, Digest: mustHash(index), Size: int64(len(index))}}, want)
	files[blobName(mustHash(index))] = index
	checkLayers(t, resolveOrFail(t, newPuller(t), Request{Reference: "oci:" + writeLayout(t, files), Platform: amd64}), want)
}

func TestBrokenLayouts(t *testing.T) {
	good := makeImage(amd64, gzipLayer(1, 1000))
	one := []v1.Descriptor{good.descriptor()}
	layer := blobName(good.layers[0].descriptor().Digest)
	for name, tt := range map[string]struct {
		change func(dir string)
		class  error
	}{
		"no directory": {func(dir string) { os.RemoveAll(dir) }, errdefs.ErrNotFound},
		"no version":   {func(dir string) { os.Remove(filepath.Join(dir, "oci-layout")) }, errdefs.ErrInvalid},
		"other version": {func(dir string) {
			os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(`{"imageLayoutVersion":"2.0"}`), 0o600)
		}, errdefs.ErrInvalid},
		"no index":        {func(dir string) { os.Remove(filepath.Join(dir, "index.json")) }, errdefs.ErrNotFound},
		"index too large": {func(dir string) { os.Truncate(filepath.Join(dir, "index.json"), maxDocument+1) }, errdefs.ErrInvalid},
		"no manifest":     {func(dir string) { os.Remove(filepath.Join(dir, blobName(mustHash(good.manifest)))) }, errdefs.ErrNotFound},
		"wrong manifest": {func(dir string) {
			os.WriteFile(filepath.Join(dir, blobName(mustHash(good.manifest))), []byte("{}"), 0o600)
		}, errdefs.ErrInvalid},
		"wrong config": {func(dir string) {
			os.WriteFile(filepath.Join(dir, blobName(mustHash(good.config))), []byte("{}"), 0o600)
		}, errdefs.ErrInvalid},
		"no layer":       {func(dir string) { os.Remove(filepath.Join(dir, layer)) }, errdefs.ErrNotFound},
		"layer cut":      {func(dir string) { os.Truncate(filepath.Join(dir, layer), 100) }, errdefs.ErrInvalid},
		"layer too long": {func(dir string) { os.Truncate(filepath.Join(dir, layer), 1<<20) }, errdefs.ErrInvalid},
		"layer is elsewhere": {func(dir string) {
			os.Remove(filepath.Join(dir, layer))
			os.Symlink("/etc/passwd", filepath.Join(dir, layer))
		}, errdefs.ErrInvalid},
		"layer is a FIFO": {func(dir string) {
			os.Remove(filepath.Join(dir, layer))
			syscall.Mkfifo(filepath.Join(dir, layer), 0o600)
		}, errdefs.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			dir := writeLayout(t, layoutFiles(one, good))
			tt.change(dir)
			i, err := newPuller(t).Resolve(t.Context(), Request{Reference: "oci:" + dir, Platform: amd64})
			if err == nil {
				defer i.Close()
				_, err = readLayer(t.Context(), i, 0)
			}
			if !errors.Is(err, tt.class) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// saved is an image as docker save writes it.
func saved(layout string, images map[string]*testImage) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	file := func(name string, content []byte) {
		w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))})
		w.Write(content)
	}
	var list []dockerImage
	for name, i := range images {
		d := dockerImage{Config: mustHash(i.config).Hex + ".json", RepoTags: []string{name}}
		file(d.Config, i.config)
		for n, l := range i.layers {
			entry := strings.Repeat(string(rune('a'+n)), 64) + "/layer.tar"
			switch layout {
			case "compressed":
				file(entry, l.stored)
			case "links":
				file("./store/"+l.descriptor().Digest.Hex, l.plain)
				w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: entry, Linkname: "../store/" + l.descriptor().Digest.Hex})
			default:
				file(entry, l.plain)
			}
			d.Layers = append(d.Layers, entry)
		}
		list = append(list, d)
	}
	file("manifest.json", mustJSON(list))
	w.Close()
	return b.Bytes()
}

func TestDockerArchive(t *testing.T) {
	want := everyCodec()
	for _, layout := range []string{"plain", "compressed", "links"} {
		t.Run(layout, func(t *testing.T) {
			file := writeArchive(t, saved(layout, map[string]*testImage{"app:v1": want}))
			p := newPuller(t)
			for _, ref := range []string{"docker-archive:" + file, "docker-archive:" + file + ":app:v1", "archive:" + file + ":docker.io/library/app:v1"} {
				i := resolveOrFail(t, p, Request{Reference: ref, Platform: amd64})
				checkLayers(t, i, want)
				if again := resolveOrFail(t, p, Request{Reference: ref, Platform: amd64}); again.Digest != i.Digest {
					t.Errorf("%s has digests %s and %s", ref, i.Digest, again.Digest)
				}
			}
			if _, err := p.Resolve(t.Context(), Request{Reference: "docker-archive:" + file + ":app:v2"}); !errors.Is(err, errdefs.ErrNotFound) {
				t.Errorf("an absent tag: %v", err)
			}
		})
	}
	two := writeArchive(t, saved("plain", map[string]*testImage{"a:v1": want, "b:v1": want}))
	if _, err := newPuller(t).Resolve(t.Context(), Request{Reference: "docker-archive:" + two}); !errors.Is(err, errdefs.ErrAmbiguous) {
		t.Errorf("two images: %v", err)
	}
}

func TestHostileArchives(t *testing.T) {
	entries := func(headers ...*tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			w.WriteHeader(h)
			w.Write(make([]byte, h.Size))
		}
		w.Close()
		return b.Bytes()
	}
	link := func(name, to string) *tar.Header {
		return &tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
	}
	whole := entries(&tar.Header{Name: "manifest.json", Size: 4096})
	many := make([]*tar.Header, 0, maxEntries+1)
	for range maxEntries + 1 {
		many = append(many, link("x", "y"))
	}
	outside := writeFile(t, filepath.Join(t.TempDir(), "manifest.json"), `[]`, 0o600)
	for name, tt := range map[string]struct {
		content []byte
		class   error
	}{
		"empty":             {nil, errdefs.ErrInvalid},
		"rubbish":           {bytes.Repeat([]byte("rubbish "), 1000), errdefs.ErrInvalid},
		"cut":               {whole[:2000], errdefs.ErrInvalid},
		"nothing of ours":   {tarFile(map[string][]byte{"x": nil}), errdefs.ErrInvalid},
		"link to the host":  {entries(link("manifest.json", outside)), errdefs.ErrNotFound},
		"link out of it":    {entries(link("manifest.json", "../../../../../../../.."+outside)), errdefs.ErrNotFound},
		"links in a circle": {entries(link("manifest.json", "a"), link("a", "manifest.json")), errdefs.ErrNotFound},
		"device":            {entries(&tar.Header{Typeflag: tar.TypeBlock, Name: "manifest.json", Devmajor: 8}), errdefs.ErrInvalid},
		"directory":         {entries(&tar.Header{Typeflag: tar.TypeDir, Name: "manifest.json"}), errdefs.ErrInvalid},
		"manifest is huge":  {entries(&tar.Header{Name: "manifest.json", Size: maxDocument + 1}), errdefs.ErrInvalid},
		"too many entries":  {entries(many...), errdefs.ErrInvalid},
		"config elsewhere":  {tarFile(map[string][]byte{"manifest.json": []byte(`[{"Config":"/etc/passwd","Layers":[]}]`)}), errdefs.ErrNotFound},
		"bomb":              {gzipped(make([]byte, 16<<20)), errdefs.ErrInvalid},
		"gzip cut":          {gzipped(whole)[:50], errdefs.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPuller(t)
			p.o.Limits.Free, p.o.Limits.Ratio = 1<<20, 10
			for _, kind := range []Kind{DockerArchive, Archive} {
				i, err := p.Resolve(t.Context(), Request{Reference: string(kind) + ":" + writeArchive(t, tt.content)})
				if err == nil {
					i.Close()
				}
				if !errors.Is(err, tt.class) && !errors.Is(err, errdefs.ErrNotFound) {
					t.Errorf("%s: got %v", kind, err)
				}
			}
			if left, _ := os.ReadDir(filepath.Join(p.store.dir, "tmp")); len(left) != 0 {
				t.Errorf("%d temporary files are left", len(left))
			}
		})
	}
}

func TestArchiveIsNoFile(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, class := range map[string]error{fifo: errdefs.ErrInvalid, t.TempDir(): errdefs.ErrInvalid, "/nowhere": errdefs.ErrNotFound} {
		if _, err := newPuller(t).Resolve(t.Context(), Request{Reference: "archive:" + path}); !errors.Is(err, class) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

// FuzzArchive: whatever the archive holds, it is an image or an error with a class, and nothing is left.
func FuzzArchive(f *testing.F) {
	i := makeImage(amd64, testLayer{types.OCILayer, gzipped([]byte("x")), []byte("x")})
	f.Add(saved("plain", map[string]*testImage{"a:v1": i}))
	f.Add(saved("links", map[string]*testImage{"a:v1": i}))
	f.Add(tarFile(layoutFiles([]v1.Descriptor{tagged(i.descriptor(), "a")}, i)))
	f.Add(gzipped(tarFile(map[string][]byte{"manifest.json": []byte(`[{"Config":"c","Layers":["l"]}]`), "c": []byte(`{"rootfs":{"diff_ids":["` + someDigest + `"]}}`)})))
	dir := f.TempDir()
	p := New(Options{CacheDir: filepath.Join(dir, "cache"), Limits: Limits{Layer: 1 << 20, Free: 1 << 20}})
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(dir, "image.tar")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		i, err := p.Resolve(t.Context(), Request{Reference: "archive:" + path, Platform: amd64})
		if err != nil {
			if errdefs.Class(err) == nil {
				t.Fatal(err)
			}
			return
		}
		defer i.Close()
		for n := range i.Layers {
			if got, err := readLayer(t.Context(), i, n); err == nil && mustHash(got).String() != i.Layers[n].DiffID && strings.HasPrefix(i.Layers[n].DiffID, "sha256:") {
				t.Fatalf("layer %d is not what its diff id says", n)
			}
		}
	})
}
