package oci

import (
	"context"
	"errors"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/banger-dev/banger/internal/errdefs"
)

// source is where an image comes from. What it returns by digest is verified.
type source interface {
	// root returns the manifest or index that the reference means.
	root(ctx context.Context, want v1.Platform) (document, error)
	// manifest returns a manifest or index of an index.
	manifest(ctx context.Context, d v1.Descriptor) (document, error)
	// config returns the configuration that a manifest names.
	config(ctx context.Context, d v1.Descriptor) ([]byte, error)
	// use is called once with the manifest that was chosen, before any layer is asked for.
	use(d v1.Hash, m *v1.Manifest) error
	// layer opens what is stored of a layer; an error comes instead of EOF when it is not what the descriptor says.
	layer(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
	// fetch brings a layer into the cache, where there is one, and returns when it is there.
	fetch(ctx context.Context, d v1.Descriptor) error
	// Close gives back what the source holds.
	Close() error
}

// maxDepth bounds indexes in indexes; builders make two levels.
const maxDepth = 4

func resolve(ctx context.Context, src source, ref Reference, want v1.Platform, l Limits) (*Image, error) {
	doc, err := src.root(ctx, want)
	if err != nil {
		return nil, err
	}
	i := &Image{Reference: ref.String(), Platform: platformName(want), src: src, limits: l}
	for range maxDepth {
		p, err := parse(doc)
		if err != nil {
			return nil, err
		}
		if p.manifest != nil {
			i.Digest, i.RawManifest = doc.digest.String(), doc.raw
			return i, i.complete(ctx, doc.digest, p.manifest, want)
		}
		d, err := choose(p.index.Manifests, want)
		if err != nil {
			return nil, err
		}
		if i.Index == "" {
			i.Index = doc.digest.String()
		}
		if doc, err = src.manifest(ctx, d); err != nil {
			return nil, err
		}
	}
	return nil, errdefs.New(errdefs.ErrInvalid, "it is indexes in indexes, more than %d deep", maxDepth)
}

// complete fills in what the manifest and the configuration say.
func (i *Image) complete(ctx context.Context, digest v1.Hash, m *v1.Manifest, want v1.Platform) error {
	if err := checkManifest(m, i.limits); err != nil {
		return err
	}
	raw, err := i.src.config(ctx, m.Config)
	if err != nil {
		return err
	}
	c, err := parseConfig(raw)
	if err != nil {
		return err
	}
	if err := c.checkPlatform(want); err != nil {
		return err
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return errdefs.New(errdefs.ErrInvalid, "its configuration knows %d layers, its manifest %d", len(c.RootFS.DiffIDs), len(m.Layers))
	}
	for n, d := range m.Layers {
		if c.RootFS.DiffIDs[n].Algorithm == "" {
			return errdefs.New(errdefs.ErrInvalid, "its configuration has no diff id for layer %d", n)
		}
		i.Layers = append(i.Layers, Layer{
			Digest: d.Digest.String(), DiffID: c.RootFS.DiffIDs[n].String(), MediaType: string(d.MediaType), Size: d.Size,
			descriptor: d, diffID: c.RootFS.DiffIDs[n],
		})
	}
	i.RawConfig, i.Config, i.Created = raw, c.api(), c.created()
	return i.src.use(digest, m)
}

// readDocument reads a document of at most maxDocument bytes and checks that it has the digest want, unless that is zero.
func readDocument(r io.Reader, want v1.Hash) ([]byte, v1.Hash, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err != nil {
		return nil, v1.Hash{}, err
	}
	if len(raw) > maxDocument {
		return nil, v1.Hash{}, errdefs.New(errdefs.ErrInvalid, "it has more than %d bytes", maxDocument)
	}
	algorithm := "sha256"
	if want.Algorithm != "" {
		algorithm = want.Algorithm
	}
	got, err := hashOf(algorithm, raw)
	if err != nil {
		return nil, v1.Hash{}, err
	}
	if want.Algorithm != "" && got != want {
		return nil, v1.Hash{}, errDigest(want, got)
	}
	return raw, got, nil
}

var errMismatch = errors.New("the content does not have its digest")

func errDigest(want, got v1.Hash) error {
	return errdefs.New(errdefs.ErrInvalid, "%w: want %s, got %s", errMismatch, want, got)
}
