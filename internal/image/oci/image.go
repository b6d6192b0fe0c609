package oci

import (
	"context"
	"fmt"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/banger-dev/banger/api"
)

// Image is an image whose manifest and configuration were read and verified. Its methods may be called concurrently.
type Image struct {
	Reference   string // in full
	Platform    string // that was asked for
	Digest      string // of the manifest
	Index       string // digest of the index that the manifest was chosen from; may be empty
	Config      api.ImageConfig
	Created     time.Time // zero: not known
	Layers      []Layer   // bottom first
	RawManifest []byte    // has Digest, but for docker archives, which have none: there it is made up
	RawConfig   []byte

	src      source
	limits   Limits
	parallel int
}

// Layer is one layer of an image.
type Layer struct {
	Digest    string // of what is stored
	DiffID    string // digest of the uncompressed tar
	MediaType string
	Size      int64 // bytes stored

	descriptor v1.Descriptor
	diffID     v1.Hash
}

// Size is what the layers take in their store, in bytes.
func (i *Image) Size() int64 {
	var sum int64
	for _, l := range i.Layers {
		sum += l.Size
	}
	return sum
}

// Fetch brings the layers that the cache does not have into it, several at once and bottom first, and reports each as a
// stage of ctx's operation. It returns when all are there or at the first error. Meanwhile [Image.Open] reads what has
// arrived. Layers of directories and files are where they are: for them it does nothing.
func (i *Image) Fetch(ctx context.Context) error {
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(max(i.parallel, 1))
	for _, l := range i.Layers {
		g.Go(func() error {
			if inner.Err() != nil {
				return context.Cause(inner)
			}
			if err := i.src.fetch(inner, l.descriptor); err != nil {
				return fmt.Errorf("layer %s: %w", short(l.descriptor.Digest), err)
			}
			return nil
		})
	}
	return g.Wait()
}

// Open returns layer n as an uncompressed tar. While the layer is still being downloaded it gives what is there and waits
// for more; when nobody downloads the layer, it begins to. The reader returns EOF only when the content had its digest and
// its diff id, and an error, of class errdefs.ErrInvalid, when it had not: nothing of it counts before EOF.
// Reading ends with ctx. The caller closes the reader.
func (i *Image) Open(ctx context.Context, n int) (io.ReadCloser, error) {
	l := i.Layers[n]
	r, err := decode(ctx, l, i.limits, func(ctx context.Context) (io.ReadCloser, error) { return i.src.layer(ctx, l.descriptor) })
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", short(l.descriptor.Digest), err)
	}
	return r, nil
}

// Close gives back what the image holds: an open archive, its claim on the cache. Readers are closed before.
func (i *Image) Close() error { return i.src.Close() }
