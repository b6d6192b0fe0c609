package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/banger-dev/banger/internal/errdefs"
)

// dockerArchive is what docker save writes: manifest.json names configurations and layers by their entries. There is no
// manifest with digests, so that one is made up; the layers are verified by the diff ids of the configuration.
type dockerArchive struct {
	ref       Reference
	files     files
	rawConfig []byte
	layers    map[v1.Hash]string // diff id: entry
}

type dockerImage struct {
	Config   string   `json:"Config"`
	RepoTags []string `json:"RepoTags"`
	Layers   []string `json:"Layers"`
}

func (s *dockerArchive) root(_ context.Context, _ v1.Platform) (document, error) {
	raw, _, err := readFile(s.files, "manifest.json", v1.Hash{})
	if err != nil {
		return document{}, err
	}
	var images []dockerImage
	if err := json.Unmarshal(raw, &images); err != nil {
		return document{}, errdefs.New(errdefs.ErrInvalid, "manifest.json: %w", err)
	}
	image, err := s.pick(images)
	if err != nil {
		return document{}, err
	}
	m, err := s.describe(image)
	if err != nil {
		return document{}, err
	}
	made, err := json.Marshal(m)
	if err != nil {
		return document{}, err
	}
	digest, err := hashOf("sha256", made)
	if err != nil {
		return document{}, err
	}
	if s.ref.Digest != "" && s.ref.Digest != digest.String() {
		return document{}, errdefs.New(errdefs.ErrNotFound, "it has no image with this digest")
	}
	return document{digest: digest, kind: types.DockerManifestSchema2, raw: made}, nil
}

func (s *dockerArchive) pick(images []dockerImage) (dockerImage, error) {
	var names []string
	for _, i := range images {
		if slices.ContainsFunc(i.RepoTags, func(t string) bool { return t == s.ref.Tag || sameImage(t, s.ref.Tag) }) {
			return i, nil
		}
		names = append(names, i.RepoTags...)
	}
	list := "nothing"
	if len(names) > 0 {
		list = printable(strings.Join(names[:min(len(names), 20)], ", "))
	}
	switch {
	case s.ref.Tag != "" || len(images) == 0:
		return dockerImage{}, errdefs.WithHint(errdefs.New(errdefs.ErrNotFound, "it has no such image"), "it has: %s", list)
	case len(images) > 1:
		return dockerImage{}, errdefs.WithHint(errdefs.New(errdefs.ErrAmbiguous, "it has %d images", len(images)), "name one: %s", list)
	}
	return images[0], nil
}

// describe makes the manifest of an image, the same each time.
func (s *dockerArchive) describe(i dockerImage) (*v1.Manifest, error) {
	raw, digest, err := readFile(s.files, i.Config, v1.Hash{})
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	// docker names the configuration by its digest
	if stated, err := v1.NewHash("sha256:" + strings.TrimSuffix(path.Base(i.Config), ".json")); err == nil && stated != digest {
		return nil, fmt.Errorf("configuration: %w", errDigest(stated, digest))
	}
	c, err := parseConfig(raw)
	if err != nil {
		return nil, err
	}
	if len(c.RootFS.DiffIDs) != len(i.Layers) || len(i.Layers) > maxLayers {
		return nil, errdefs.New(errdefs.ErrInvalid, "its configuration knows %d layers, its manifest %d; at most %d are supported",
			len(c.RootFS.DiffIDs), len(i.Layers), maxLayers)
	}
	m := &v1.Manifest{
		SchemaVersion: 2, MediaType: types.DockerManifestSchema2,
		Config: v1.Descriptor{MediaType: types.DockerConfigJSON, Size: int64(len(raw)), Digest: digest},
		Layers: []v1.Descriptor{},
	}
	s.rawConfig, s.layers = raw, make(map[v1.Hash]string)
	for n, name := range i.Layers {
		r, size, err := s.files.open(name)
		if err != nil {
			return nil, errdefs.New(errdefs.ErrInvalid, "layer %q: %w", name, err)
		}
		r.Close()
		id := c.RootFS.DiffIDs[n]
		s.layers[id] = name
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: types.DockerUncompressedLayer, Size: size, Digest: id})
	}
	return m, nil
}

func (s *dockerArchive) manifest(context.Context, v1.Descriptor) (document, error) {
	return document{}, errdefs.New(errdefs.ErrInvalid, "a docker archive has no index")
}

func (s *dockerArchive) config(context.Context, v1.Descriptor) ([]byte, error) {
	return s.rawConfig, nil
}

func (s *dockerArchive) use(v1.Hash, *v1.Manifest) error { return nil }

func (s *dockerArchive) layer(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	r, _, err := s.files.open(s.layers[d.Digest])
	if err != nil {
		return nil, classifyPath(err)
	}
	return r, nil
}

func (s *dockerArchive) fetch(context.Context, v1.Descriptor) error { return nil }

func (s *dockerArchive) Close() error { return s.files.Close() }
