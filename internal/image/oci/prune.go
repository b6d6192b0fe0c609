package oci

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/errdefs"
)

// CachedTag is a tag whose image can be resolved without a network, though its layers may be gone.
type CachedTag struct {
	Reference string
	Digest    string    // of the manifest or index
	Checked   time.Time // when the registry was last asked
}

// Usage is what the cache takes on disk, in bytes.
type Usage struct {
	Blobs   int64 // whole blobs
	Partial int64 // downloads that run or may be resumed
	Tags    []CachedTag
}

// Usage measures the cache.
func (p *Puller) Usage(ctx context.Context) (Usage, error) {
	var u Usage
	err := p.store.each(ctx, "blobs", func(_ string, i fs.FileInfo) error { u.Blobs += i.Size(); return nil })
	if err == nil {
		err = p.store.each(ctx, "partial", func(_ string, i fs.FileInfo) error { u.Partial += i.Size(); return nil })
	}
	if err == nil {
		err = p.store.tags(ctx, func(_ string, t tagRecord) error {
			u.Tags = append(u.Tags, CachedTag{Reference: t.Reference, Digest: t.Digest.String(), Checked: t.Checked})
			return nil
		})
	}
	slices.SortFunc(u.Tags, func(a, b CachedTag) int { return strings.Compare(a.Reference, b.Reference) })
	return u, err
}

// Prune removes from the cache what is not needed by the images whose manifests or indexes have the digests in keep, nor by
// images that are open, nor by downloads that run. It returns the bytes that this freed, also when it fails midway.
func (p *Puller) Prune(ctx context.Context, keep []string) (freed int64, err error) {
	needed := make(map[v1.Hash]bool)
	for _, s := range keep {
		h, err := v1.NewHash(s)
		if err != nil {
			return 0, errdefs.New(errdefs.ErrInvalid, "digest %q: %w", s, err)
		}
		p.store.mark(h, needed, maxDepth)
	}
	s := p.store
	err = s.each(ctx, "blobs", func(path string, i fs.FileInfo) error {
		h, err := v1.NewHash(filepath.Base(filepath.Dir(path)) + ":" + filepath.Base(path))
		if err == nil && (needed[h] || s.pinned(h)) {
			return nil
		}
		return remove(path, i, &freed)
	})
	if err == nil {
		err = s.each(ctx, "partial", func(path string, i fs.FileInfo) error { return removeUnlocked(path, i, &freed) })
	}
	if err == nil {
		err = s.tags(ctx, func(path string, t tagRecord) error {
			if _, err := os.Lstat(s.blob(t.Digest)); errors.Is(err, fs.ErrNotExist) {
				return os.Remove(path)
			}
			return nil
		})
	}
	return freed, err
}

func remove(path string, i fs.FileInfo, freed *int64) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	*freed += i.Size()
	return nil
}

// removeUnlocked removes a partial file that nobody writes.
func removeUnlocked(path string, i fs.FileInfo, freed *int64) error {
	f, err := openLocked(path)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return remove(path, i, freed)
}

// mark adds to needed what is reachable from the document h, as far as it is in the cache.
func (s *store) mark(h v1.Hash, needed map[v1.Hash]bool, depth int) {
	if depth == 0 {
		return
	}
	needed[h] = true
	raw, err := s.document(h)
	if err != nil {
		return
	}
	doc, err := parse(document{digest: h, raw: raw})
	if err != nil {
		return
	}
	if doc.index != nil {
		for _, d := range doc.index.Manifests {
			s.mark(d.Digest, needed, depth-1)
		}
		return
	}
	needed[doc.manifest.Config.Digest] = true
	for _, d := range doc.manifest.Layers {
		needed[d.Digest] = true
	}
}

func (s *store) pinned(h v1.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pins[h] > 0
}

// each calls f for every regular file below a directory of the cache.
func (s *store) each(ctx context.Context, sub string, f func(path string, i fs.FileInfo) error) error {
	return filepath.WalkDir(filepath.Join(s.dir, sub), func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !e.Type().IsRegular() {
			return nil
		}
		i, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		return f(path, i)
	})
}

// tags calls f for every tag record that can be read.
func (s *store) tags(ctx context.Context, f func(path string, t tagRecord) error) error {
	return s.each(ctx, "tags", func(path string, _ fs.FileInfo) error {
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		var t tagRecord
		if !decodeTag(raw, &t) {
			return os.Remove(path)
		}
		return f(path, t)
	})
}
