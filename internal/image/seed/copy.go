package seed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/ext4"
	"github.com/banger-dev/banger/internal/ext4/ext4fs"
	"github.com/banger-dev/banger/internal/image/flatten"
)

const (
	defaultEntries = 2 << 20
	defaultBytes   = 128 << 30
	maxWarnings    = 100
)

// sink is what a tree is copied to.
type sink interface {
	// add puts an entry, whose parent was put before.
	add(e ext4.Entry, content io.Reader) error
	// link makes path another name of target, which was put before.
	link(path, target string) error
	// holds returns why an entry cannot be put, and an extended attribute of one. Both are left out with a warning.
	holds(e ext4.Entry) error
	holdsAttr(name string, value []byte) error
}

// fileSystem is the sink that makes an ext4.
type fileSystem struct{ w *ext4.Writer }

func (s fileSystem) add(e ext4.Entry, content io.Reader) error { return s.w.Add(e, content) }
func (s fileSystem) link(path, target string) error            { return s.w.Link(path, target) }
func (fileSystem) holds(ext4.Entry) error                      { return nil }
func (fileSystem) holdsAttr(name string, value []byte) error   { return ext4.CheckXattr(name, value) }

// copier copies trees and counts.
type copier struct {
	ctx     context.Context //nolint:containedctx // lives as long as one call of the package
	limits  flatten.Limits
	result  Result
	known   map[string]bool
	omitted int
}

func newCopier(ctx context.Context, l flatten.Limits) *copier {
	if l.Entries <= 0 {
		l.Entries = defaultEntries
	}
	if l.Bytes <= 0 {
		l.Bytes = defaultBytes
	}
	return &copier{ctx: ctx, limits: l, known: make(map[string]bool)}
}

func (c *copier) done() Result {
	if c.omitted > 0 {
		c.result.Warnings = append(c.result.Warnings, fmt.Sprintf("%d more warnings", c.omitted))
	}
	return c.result
}

func (c *copier) warn(text string) {
	switch {
	case c.known[text]:
	case len(c.known) >= maxWarnings:
		c.omitted++
	default:
		c.known[text] = true
		c.result.Warnings = append(c.result.Warnings, text)
	}
}

// merge copies rootfs with seed, if there is one, in the place of its /root.
func (c *copier) merge(rootfs Disk, seed *Disk, to sink) error {
	lower, err := ext4fs.Open(rootfs, rootfs.Size)
	if err != nil {
		return fmt.Errorf("root file system: %w", err)
	}
	if seed == nil {
		return c.copy(lower, "", "", to, nil)
	}
	upper, err := ext4fs.Open(*seed, seed.Size)
	if err != nil {
		return fmt.Errorf("work seed: %w", err)
	}
	met := false
	err = c.copy(lower, "", "", to, func(f *ext4fs.File) error {
		if f.Path != workDir {
			return nil
		}
		if f.Type != ext4.Directory {
			c.warn("/root is not a directory in the root file system; the work seed takes its place")
		}
		met = true
		if err := c.copy(upper, "", workDir, to, nil); err != nil {
			return err
		}
		return fs.SkipDir
	})
	if err != nil || met {
		return err
	}
	return c.copy(upper, "", workDir, to, nil)
}

// copy copies the directory dir to prefix, but what replace, when it is not nil, returns [fs.SkipDir] for.
func (c *copier) copy(from *ext4fs.FS, dir, prefix string, to sink, replace func(*ext4fs.File) error) error {
	return from.Walk(c.ctx, dir, func(f *ext4fs.File) error {
		var err error
		switch {
		case dir == "" && f.Path == lostFound:
			err = c.skipEmpty(from, f)
		case replace != nil:
			err = replace(f)
		}
		switch {
		case err == nil:
			return c.file(f, prefix, to)
		case errors.Is(err, fs.SkipDir) && f.Type != ext4.Directory:
			return nil
		}
		return err
	})
}

// skipEmpty returns [fs.SkipDir] for a directory without anything in it: e2fsck makes lost+found where it needs it.
func (c *copier) skipEmpty(from *ext4fs.FS, f *ext4fs.File) error {
	if f.Type != ext4.Directory {
		return nil
	}
	entries := 0
	if err := from.Walk(c.ctx, f.Path, func(*ext4fs.File) error { entries++; return nil }); err != nil || entries > 1 {
		return err
	}
	return fs.SkipDir
}

func (c *copier) file(f *ext4fs.File, prefix string, to sink) error {
	e := f.Entry
	e.Path = path.Join(prefix, f.Path)
	if err := to.holds(e); err != nil {
		c.warn(fmt.Sprintf("left out: %v", err))
		return nil
	}
	if f.First != "" {
		return to.link(e.Path, path.Join(prefix, f.First))
	}
	content, err := f.Content()
	if err != nil {
		return err
	}
	return c.put(to, e, content)
}

// put counts and adds an entry.
func (c *copier) put(to sink, e ext4.Entry, content io.Reader) error {
	if c.result.Entries++; c.result.Entries > c.limits.Entries {
		return errdefs.New(errdefs.ErrInvalid, "more than %d entries", c.limits.Entries)
	}
	if e.Size > c.limits.Bytes-c.result.Bytes {
		return errdefs.New(errdefs.ErrInvalid, "the files have more than %d bytes", c.limits.Bytes)
	}
	c.result.Bytes += e.Size
	e.Xattrs = maps.Clone(e.Xattrs)
	for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
		if err := to.holdsAttr(name, e.Xattrs[name]); err != nil {
			c.warn(fmt.Sprintf("left out: %v", err))
			delete(e.Xattrs, name)
		}
	}
	return to.add(e, &stoppable{c.ctx, content})
}

// stoppable reads until its context ends.
type stoppable struct {
	ctx context.Context //nolint:containedctx // lives as long as one call of put
	r   io.Reader
}

func (s *stoppable) Read(p []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.r.Read(p)
}
