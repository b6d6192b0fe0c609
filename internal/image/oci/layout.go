package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/banger-dev/banger/internal/errdefs"
)

// The annotations of index.json that name images: the specification's, and containerd's, which docker writes too.
const (
	refNameAnnotation   = "org.opencontainers.image.ref.name"
	imageNameAnnotation = "io.containerd.image.name"
)

// layoutSource is an OCI image layout. See the OCI image specification, image-layout.md.
type layoutSource struct {
	ref   Reference
	files files
}

func (s *layoutSource) root(_ context.Context, want v1.Platform) (document, error) {
	if err := s.checkVersion(); err != nil {
		return document{}, err
	}
	raw, digest, err := s.read("index.json", v1.Hash{})
	if err != nil {
		return document{}, err
	}
	p, err := parse(document{digest: digest, raw: raw, kind: "application/json"})
	if err != nil {
		return document{}, err
	}
	if p.index == nil {
		return document{}, errdefs.New(errdefs.ErrInvalid, "index.json is not an index")
	}
	d, err := s.pick(p.index.Manifests, want)
	if err != nil {
		return document{}, err
	}
	return s.document(d)
}

func (s *layoutSource) checkVersion() error {
	raw, _, err := s.read("oci-layout", v1.Hash{})
	if err != nil {
		return errdefs.New(errdefs.ErrInvalid, "it is not an OCI image layout: %w", err)
	}
	var v struct {
		Version string `json:"imageLayoutVersion"`
	}
	if json.Unmarshal(raw, &v) != nil || !strings.HasPrefix(v.Version, "1.") {
		return errdefs.New(errdefs.ErrInvalid, "its layout version %q is not supported", printable(v.Version))
	}
	return nil
}

// pick finds what the reference means among the images of index.json.
func (s *layoutSource) pick(all []v1.Descriptor, want v1.Platform) (v1.Descriptor, error) {
	if s.ref.Digest != "" {
		h, err := v1.NewHash(s.ref.Digest)
		if err != nil {
			return v1.Descriptor{}, errdefs.As(errdefs.ErrInvalid, err)
		}
		if i := slices.IndexFunc(all, func(d v1.Descriptor) bool { return d.Digest == h }); i >= 0 {
			return all[i], nil
		}
		return v1.Descriptor{Digest: h}, nil // may be below an index
	}
	candidates := slices.DeleteFunc(slices.Clone(all), isAttestation)
	if s.ref.Tag != "" {
		candidates = slices.DeleteFunc(candidates, func(d v1.Descriptor) bool { return !named(d, s.ref.Tag) })
	}
	switch {
	case len(candidates) == 1:
		return candidates[0], nil
	case len(candidates) == 0:
		return v1.Descriptor{}, errdefs.WithHint(errdefs.New(errdefs.ErrNotFound, "it has no such image"), "it has: %s", imageNames(all))
	case !sameName(candidates):
		return v1.Descriptor{}, errdefs.WithHint(errdefs.New(errdefs.ErrAmbiguous, "it has %d images", len(candidates)), "name one: %s", imageNames(all))
	}
	return choose(candidates, want)
}

// named tells whether an image has this tag or name.
func named(d v1.Descriptor, tag string) bool {
	for _, name := range []string{d.Annotations[refNameAnnotation], d.Annotations[imageNameAnnotation]} {
		if name != "" && (name == tag || sameImage(name, tag)) {
			return true
		}
	}
	return false
}

// sameImage compares names as docker does: alpine is docker.io/library/alpine:latest.
func sameImage(a, b string) bool {
	x, err := parseName(a)
	if err != nil {
		return false
	}
	y, err := parseName(b)
	return err == nil && x == y
}

func sameName(ds []v1.Descriptor) bool {
	for _, d := range ds[1:] {
		if d.Annotations[refNameAnnotation] != ds[0].Annotations[refNameAnnotation] {
			return false
		}
	}
	return true
}

// imageNames lists what can be named, at most 20.
func imageNames(ds []v1.Descriptor) string {
	var names []string
	for _, d := range ds {
		if n := d.Annotations[refNameAnnotation]; n != "" {
			names = append(names, printable(n))
		} else if !isAttestation(d) {
			names = append(names, "@"+d.Digest.String())
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > 20 {
		names = append(names[:20], "others")
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

func (s *layoutSource) manifest(_ context.Context, d v1.Descriptor) (document, error) {
	return s.document(d)
}

func (s *layoutSource) document(d v1.Descriptor) (document, error) {
	raw, err := s.readBlob(d)
	return document{digest: d.Digest, kind: d.MediaType, raw: raw}, err
}

func (s *layoutSource) config(_ context.Context, d v1.Descriptor) ([]byte, error) {
	raw, err := s.readBlob(d)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return raw, nil
}

func (s *layoutSource) readBlob(d v1.Descriptor) ([]byte, error) {
	if d.Digest.Algorithm == "" {
		return nil, errdefs.New(errdefs.ErrInvalid, "a descriptor has no digest")
	}
	raw, _, err := s.read(blobName(d.Digest), d.Digest)
	return raw, err
}

func blobName(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

func (s *layoutSource) read(name string, want v1.Hash) ([]byte, v1.Hash, error) {
	return readFile(s.files, name, want)
}

// readFile reads a document of files.
func readFile(fsys files, name string, want v1.Hash) ([]byte, v1.Hash, error) {
	r, _, err := fsys.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, v1.Hash{}, errdefs.New(errdefs.ErrNotFound, "%s is missing", name)
	}
	if err != nil {
		return nil, v1.Hash{}, err
	}
	defer r.Close()
	raw, digest, err := readDocument(r, want)
	if err != nil {
		return nil, v1.Hash{}, fmt.Errorf("%s: %w", name, err)
	}
	return raw, digest, nil
}

func (s *layoutSource) use(v1.Hash, *v1.Manifest) error { return nil }

func (s *layoutSource) layer(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	r, _, err := s.files.open(blobName(d.Digest))
	if err != nil {
		return nil, classifyPath(err)
	}
	return verify(r, d, nil)
}

func (s *layoutSource) fetch(context.Context, v1.Descriptor) error { return nil }

func (s *layoutSource) Close() error { return s.files.Close() }
