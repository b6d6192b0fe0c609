package oci

import (
	"context"
	"io"
)

// Blob returns layer n as it is stored, compressed or not. The reader returns EOF only when the content had its digest.
// The caller closes it.
func (i *Image) Blob(ctx context.Context, n int) (io.ReadCloser, error) {
	return i.src.layer(ctx, i.Layers[n].descriptor)
}
