// Package flatten turns the layers of an image into its disks, in one pass and without unpacking them: a read-only
// root file system, and a writable work seed that holds what the image has under /root.
//
// Layers are applied as the OCI image specification says (layer.md, "Applying Changesets"). Where it leaves a choice,
// the result is that of containerd and umoci: a directory over a symbolic link to one replaces the link, and a parent
// that no entry tells of is made, with mode 0755.
//
// The streams are foreign: what cannot be represented is refused with the name of the entry. No path in them can reach
// anything but the two file systems, because nothing is ever looked up on the host.
package flatten

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
)

// DefaultSeedSize is the size of a work seed, in bytes. Little of it is allocated: the file is sparse.
const DefaultSeedSize = 16 << 30

// Options are the choices of a caller. The zero value is good.
type Options struct {
	SeedSize int64     // bytes; 0: DefaultSeedSize
	Epoch    time.Time // of what the archive gives no time; zero: 1970
	Limits   Limits
}

// Result tells what was found.
type Result struct {
	Entries     int      // of all layers, whiteouts included
	SeedEntries int      // of these, those that went to the work seed
	Bytes       int64    // of file content, also of what later layers replaced
	Warnings    []string // what is represented otherwise than it was, a sentence each
}

// Layer is one layer of an image.
type Layer struct {
	Name string                                           // for errors, such as its digest
	Open func(ctx context.Context) (io.ReadCloser, error) // an uncompressed tar archive
}

// Layers merges an image's layers, the lowest first, and writes the file systems into rootfs and seed, both open for
// reading and writing. With a nil seed, all goes to rootfs. The files are not synced.
//
// Layers are opened one after the other, each when the one below it is merged, and read to their end. After an error,
// which is of class ErrInvalid when an archive is to blame and ErrExhausted when there is no room, the files are of no
// use. Memory grows with the number of files, not with their size: 500000 of them take about 100 MiB. See [Limits].
func Layers(ctx context.Context, layers []Layer, rootfs, seed *os.File, o Options) (Result, error) {
	m, err := newMerge(rootfs, seed, o)
	if err != nil {
		return Result{}, fmt.Errorf("flatten: %w", err)
	}
	for _, l := range layers {
		if err := m.layer(ctx, l); err != nil {
			return Result{}, fmt.Errorf("flatten %s: %w", l.Name, err)
		}
	}
	if err := m.tree.close(); err != nil {
		return Result{}, fmt.Errorf("flatten: %w", err)
	}
	m.result.Warnings = m.warnings.list()
	return m.result, nil
}

// Tar is [Layers] for an image of one layer, which must have at least one entry.
func Tar(ctx context.Context, r io.Reader, rootfs, seed *os.File, o Options) (Result, error) {
	archive := Layer{Name: "archive", Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(r), nil }}
	result, err := Layers(ctx, []Layer{archive}, rootfs, seed, o)
	if err == nil && result.Entries == 0 {
		err = errdefs.As(errdefs.ErrInvalid, errors.New("flatten archive: it is empty"))
	}
	return result, err
}
