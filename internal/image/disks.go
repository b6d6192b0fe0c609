package image

import (
	"context"
	"io"
	"os"

	"github.com/banger-dev/banger/internal/image/flatten"
)

// seedSize is that of a work seed, in bytes. It is sparse, and a guest grows its copy to the size that the VM has. A
// larger one would save that, but every byte is read once for the seed's digest.
const seedSize = 1 << 30

// WriteExt4 writes one uncompressed tar archive as two ext4 file systems: /root to seed, the rest to rootfs.
func WriteExt4(ctx context.Context, tar io.Reader, rootfs, seed *os.File) error {
	result, err := flatten.Tar(ctx, tar, rootfs, seed, flatten.Options{SeedSize: seedSize})
	warn(ctx, result.Warnings)
	return err
}
