package image

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/image/oci"
	"github.com/banger-dev/banger/internal/image/seed"
	"github.com/banger-dev/banger/internal/op"
	"github.com/banger-dev/banger/internal/publish"
)

// The media types of what is made here (OCI image specification 1.1, media-types.md).
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
)

type descriptor struct {
	MediaType string    `json:"mediaType"`
	Digest    string    `json:"digest"`
	Size      int64     `json:"size"`
	Platform  *platform `json:"platform,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

// configuration is config.md of the specification, as far as banger knows it. It has no time, so that the same image
// always has the same digest.
type configuration struct {
	platform
	Config struct {
		User         string              `json:"User,omitempty"`
		ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
		Env          []string            `json:"Env,omitempty"`
		Entrypoint   []string            `json:"Entrypoint,omitempty"`
		Cmd          []string            `json:"Cmd,omitempty"`
		WorkingDir   string              `json:"WorkingDir,omitempty"`
		Labels       map[string]string   `json:"Labels,omitempty"`
	} `json:"config"`
	RootFS struct {
		Type    string   `json:"type"`
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
}

// exportOCI writes an OCI archive and returns the digest of its manifest.
func (s *Service) exportOCI(ctx context.Context, i api.Image, f *os.File) (string, error) {
	if src := s.original(ctx, i); src != nil {
		err := errors.Join(writeOriginal(ctx, src, f), src.Close())
		return src.Digest, err
	}
	spool, err := publish.New(s.dirs.Staging(), "export")
	if err != nil {
		return "", err
	}
	digest, err := exportFlat(ctx, i, spool.Path("layer"), f)
	return digest, errors.Join(err, spool.Discard()) //nolint:contextcheck // the end of ctx is no reason to leave something
}

// original returns the image that i was pulled as, if the cache has all of it.
func (s *Service) original(ctx context.Context, i api.Image) *oci.Image {
	ref, err := oci.ParseReference(i.Source)
	if err != nil || ref.Kind != oci.Registry || i.Digest == "" || s.puller == nil {
		return nil
	}
	ref.Tag, ref.Digest = "", i.Digest
	src, err := s.puller.Resolve(ctx, oci.Request{Reference: ref.String(), Platform: i.Platform, Policy: oci.PullNever})
	if err != nil || src.Digest != i.Digest {
		return nil
	}
	return src
}

// archive writes the files of an OCI image layout into a tar archive.
type archive struct{ w *tar.Writer }

func newArchive(f io.Writer) archive { return archive{tar.NewWriter(f)} }

func (a archive) add(name string, size int64, content io.Reader) error {
	if err := a.w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size, Typeflag: tar.TypeReg, Format: tar.FormatPAX}); err != nil {
		return err
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{a.w}, content, make([]byte, 256<<10))
	return err
}

// addBlob adds a document and returns its descriptor.
func (a archive) addBlob(mediaType string, data []byte) (descriptor, error) {
	sum := sha256.Sum256(data)
	d := descriptor{MediaType: mediaType, Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(data))}
	return d, a.add(blobPath(d.Digest), d.Size, strings.NewReader(string(data)))
}

func blobPath(digest string) string { return "blobs/" + strings.Replace(digest, ":", "/", 1) }

// finish adds what leads to the manifest.
func (a archive) finish(m descriptor) error {
	index, err := json.Marshal(struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Manifests     []descriptor `json:"manifests"`
	}{2, typeIndex, []descriptor{m}})
	if err != nil {
		return err
	}
	const layout = `{"imageLayoutVersion":"1.0.0"}`
	if err := a.add("oci-layout", int64(len(layout)), strings.NewReader(layout)); err != nil {
		return err
	}
	if err := a.add("index.json", int64(len(index)), strings.NewReader(string(index))); err != nil {
		return err
	}
	return a.w.Close()
}

// writeOriginal writes the image as its registry has it.
func writeOriginal(ctx context.Context, src *oci.Image, f io.Writer) error {
	stage := op.Begin(ctx, "write archive", src.Digest)
	stage.Total(src.Size())
	a := newArchive(io.MultiWriter(f, stage))
	var known struct {
		MediaType string `json:"mediaType"`
	}
	err := json.Unmarshal(src.RawManifest, &known)
	for n := 0; err == nil && n < len(src.Layers); n++ {
		err = addLayer(ctx, a, src, n)
	}
	if err == nil {
		_, err = a.addBlob(typeConfig, src.RawConfig)
	}
	var m descriptor
	if err == nil {
		if known.MediaType == "" {
			known.MediaType = typeManifest
		}
		m, err = a.addBlob(known.MediaType, src.RawManifest)
	}
	if err == nil {
		m.Platform = platformOf(src.Platform)
		err = a.finish(m)
	}
	return stage.End(err)
}

func addLayer(ctx context.Context, a archive, src *oci.Image, n int) error {
	for _, earlier := range src.Layers[:n] {
		if earlier.Digest == src.Layers[n].Digest {
			return nil
		}
	}
	blob, err := src.Blob(ctx, n)
	if err != nil {
		return err
	}
	err = a.add(blobPath(src.Layers[n].Digest), src.Layers[n].Size, blob)
	return errors.Join(err, blob.Close())
}

// exportFlat writes the image as one of a single layer, which is made at the path spool first: an archive must know its
// size before.
func exportFlat(ctx context.Context, i api.Image, spool string, f io.Writer) (string, error) {
	layer, err := writeLayer(ctx, i, spool)
	if err != nil {
		return "", err
	}
	stage := op.Begin(ctx, "write archive", layer.Digest)
	stage.Total(layer.Size)
	digest, err := assemble(i, layer, spool, newArchive(io.MultiWriter(f, stage)))
	return digest, stage.End(err)
}

func assemble(i api.Image, layer descriptor, spool string, a archive) (string, error) {
	content, err := os.Open(spool)
	if err != nil {
		return "", err
	}
	defer content.Close()
	if err := a.add(blobPath(layer.Digest), layer.Size, content); err != nil {
		return "", err
	}
	config, err := json.Marshal(configurationOf(i, layer.Digest))
	if err != nil {
		return "", err
	}
	c, err := a.addBlob(typeConfig, config)
	if err != nil {
		return "", err
	}
	data, err := json.Marshal(manifest{SchemaVersion: 2, MediaType: typeManifest, Config: c, Layers: []descriptor{layer}})
	if err != nil {
		return "", err
	}
	m, err := a.addBlob(typeManifest, data)
	if err != nil {
		return "", err
	}
	m.Platform = platformOf(i.Platform)
	return m.Digest, a.finish(m)
}

// writeLayer writes the tree of both disks as one uncompressed layer.
func writeLayer(ctx context.Context, i api.Image, path string) (d descriptor, err error) {
	disks, err := openDisks(i)
	defer disks.close()
	if err != nil {
		return d, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return d, err
	}
	stage, hash := op.Begin(ctx, "make layer", i.Name), sha256.New()
	_, err = seed.Tar(ctx, io.MultiWriter(f, hash, stage), disks.rootfs, disks.seed, seed.Options{})
	size, seekErr := f.Seek(0, io.SeekCurrent)
	err = stage.End(errors.Join(err, seekErr, f.Close()))
	return descriptor{MediaType: typeLayer, Digest: "sha256:" + hex.EncodeToString(hash.Sum(nil)), Size: size}, err
}

func configurationOf(i api.Image, diffID string) configuration {
	c := configuration{platform: *platformOf(i.Platform)}
	c.Config.User, c.Config.Env, c.Config.WorkingDir = i.Config.User, i.Config.Env, i.Config.Workdir
	c.Config.Entrypoint, c.Config.Cmd, c.Config.Labels = i.Config.Entrypoint, i.Config.Cmd, i.Config.Labels
	for _, port := range i.Config.ExposedPorts {
		if c.Config.ExposedPorts == nil {
			c.Config.ExposedPorts = map[string]struct{}{}
		}
		c.Config.ExposedPorts[port] = struct{}{}
	}
	c.RootFS.Type, c.RootFS.DiffIDs = "layers", []string{diffID}
	return c
}

// platformOf reads os/arch[/variant]; an image that was made here is of this machine's.
func platformOf(text string) *platform {
	parts := strings.SplitN(text, "/", 3)
	if len(parts) < 2 {
		return &platform{OS: "linux", Architecture: runtime.GOARCH}
	}
	p := &platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p
}
