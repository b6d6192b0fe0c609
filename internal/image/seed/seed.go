// Package seed makes work seeds from root file systems that exist already, and puts the two back together: as one file
// system for a bundle, as one archive for an OCI layer. Nothing is mounted.
//
// The result depends on the content of its inputs alone: the same files, in whatever order and place, make the same
// bytes. Inputs may be foreign; see package ext4fs.
package seed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/ext4"
	"github.com/banger-dev/banger/internal/ext4/ext4fs"
	"github.com/banger-dev/banger/internal/image/flatten"
)

const (
	workDir   = "root"       // of a root file system: what is in it belongs into the seed
	lostFound = "lost+found" // in the root of file systems that mke2fs made
)

// Options are the choices of a caller. The zero value is good.
type Options struct {
	Size   int64          // bytes that a seed has at least; 0: flatten.DefaultSeedSize. It is sparse
	Epoch  time.Time      // when the file system was made; zero: 1970
	Limits flatten.Limits // of what is copied
}

// Result tells what was copied.
type Result struct {
	Entries  int
	Bytes    int64    // of file content, holes included
	Warnings []string // what is represented otherwise than it was, a sentence each
}

// Disk is a file that holds a file system.
type Disk struct {
	io.ReaderAt
	Size int64 // bytes
}

// Open takes an open file as a Disk.
func Open(f *os.File) (Disk, error) {
	info, err := f.Stat()
	if err != nil {
		return Disk{}, fmt.Errorf("open file system: %w", err)
	}
	return Disk{f, info.Size()}, nil
}

// Build writes a work seed into seed: a writable file system with a journal whose root is the directory /root of rootfs,
// as package flatten makes it. Without such a directory it is empty, and a warning says so. It has room for as much again
// as it holds, even where o.Size is less. seed must be open for reading and writing, and is not synced. Errors of class
// errdefs.ErrInvalid are about rootfs.
func Build(ctx context.Context, rootfs Disk, seed *os.File, o Options) (Result, error) {
	result, err := build(ctx, rootfs, seed, o)
	if err != nil {
		return Result{}, fmt.Errorf("build work seed: %w", err)
	}
	return result, nil
}

func build(ctx context.Context, rootfs Disk, seed *os.File, o Options) (Result, error) {
	from, err := ext4fs.Open(rootfs, rootfs.Size)
	if err != nil {
		return Result{}, err
	}
	c := newCopier(ctx, o.Limits)
	top, err := from.Stat(workDir)
	switch {
	case errors.Is(err, errdefs.ErrNotFound), err == nil && top.Type != ext4.Directory:
		c.warn("/root is not a directory in the root file system; the work seed is empty")
		top = nil
	case err != nil:
		return Result{}, err
	}
	need := needs{}
	if top != nil {
		if need, err = measure(ctx, from, workDir); err != nil {
			return Result{}, err
		}
	}
	w, err := ext4.NewWriter(seed, need.options(o))
	if err != nil {
		return Result{}, err
	}
	if top != nil {
		err = c.copy(from, workDir, "", fileSystem{w}, nil)
	} else {
		err = c.put(fileSystem{w}, ext4.Entry{Type: ext4.Directory, Mode: 0o700}, nil)
	}
	if err != nil {
		return Result{}, err
	}
	return c.done(), w.Close()
}

// Merge writes one read-only file system into out: that of rootfs, with the content of seed as /root. out must be open
// for reading and writing, and is not synced.
func Merge(ctx context.Context, rootfs Disk, seed *Disk, out *os.File, o Options) (Result, error) {
	w, err := ext4.NewWriter(out, ext4.Options{ReadOnly: true, Label: "banger-rootfs", Epoch: o.Epoch})
	if err != nil {
		return Result{}, fmt.Errorf("merge file systems: %w", err)
	}
	c := newCopier(ctx, o.Limits)
	err = c.merge(rootfs, seed, fileSystem{w})
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return Result{}, fmt.Errorf("merge file systems: %w", err)
	}
	return c.done(), nil
}
