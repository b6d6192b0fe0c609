package seed

import (
	"context"

	"github.com/banger-dev/banger/internal/ext4"
	"github.com/banger-dev/banger/internal/ext4/ext4fs"
	"github.com/banger-dev/banger/internal/image/flatten"
)

const (
	blockSize     = 4096
	bytesPerInode = 16 << 10 // what ext4 has by default
	overhead      = 64 << 20 // bytes of journal and tables in a file system of some size
)

// needs is what a tree takes in a file system.
type needs struct {
	entries int64
	bytes   int64 // of blocks
}

// measure finds out what the directory dir needs.
func measure(ctx context.Context, from *ext4fs.FS, dir string) (needs, error) {
	var n needs
	err := from.Walk(ctx, dir, func(f *ext4fs.File) error {
		if f.First != "" {
			return nil
		}
		n.entries++
		n.bytes += blockSize // of a directory, a long link or attributes, or the last one of a file
		return f.Data(func(_, size int64) error { n.bytes += size; return nil })
	})
	return n, err
}

// options are those of a work seed that holds twice what is needed.
func (n needs) options(o Options) ext4.Options {
	size := o.Size
	if size == 0 {
		size = flatten.DefaultSeedSize
	}
	const mebi = 1 << 20
	size = max(size, (2*n.bytes+overhead+mebi-1)/mebi*mebi)
	w := ext4.Options{Size: size, Journal: true, Label: "banger-root", Epoch: o.Epoch}
	if 2*n.entries > size/bytesPerInode {
		w.Inodes = uint32(2 * n.entries)
	}
	return w
}
