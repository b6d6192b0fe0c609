package oci

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/fsutil"
)

// store is the cache on disk. All of it can be made again, so that nothing in it is believed without its digest.
//
//	blobs/<algorithm>/<hex>     whole: manifests, indexes, configurations, layers
//	partial/<algorithm>-<hex>   layers on their way; flocked by who writes them
//	tags/<hex of the name>.json what a tag meant when the registry was last asked
type store struct {
	dir string

	mu   sync.Mutex
	pins map[v1.Hash]int // blobs of open images, which Prune leaves
}

func newStore(dir string) *store { return &store{dir: dir, pins: make(map[v1.Hash]int)} }

func (s *store) blob(h v1.Hash) string { return filepath.Join(s.dir, "blobs", h.Algorithm, h.Hex) }

func (s *store) partial(h v1.Hash) string {
	return filepath.Join(s.dir, "partial", h.Algorithm+"-"+h.Hex)
}

// has tells whether a blob of this size is there. One of another size is not removed: the descriptor may be what is wrong.
func (s *store) has(d v1.Descriptor) bool {
	info, err := os.Lstat(s.blob(d.Digest))
	return err == nil && info.Mode().IsRegular() && info.Size() == d.Size
}

// open returns a blob that verifies itself and is removed from the cache when it is wrong.
func (s *store) open(d v1.Descriptor) (io.ReadCloser, error) {
	f, err := os.Open(s.blob(d.Digest))
	if err != nil {
		return nil, err
	}
	return verify(f, d, func() { s.drop(d.Digest) })
}

// drop removes a blob that is of no use. One that cannot be removed is found wrong again.
func (s *store) drop(h v1.Hash) { _ = os.Remove(s.blob(h)) }

// document returns a small blob, or errdefs.ErrNotFound when it is not there or not what it should be.
func (s *store) document(h v1.Hash) ([]byte, error) {
	f, err := os.Open(s.blob(h))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errdefs.New(errdefs.ErrNotFound, "%s is not in the cache", short(h))
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, _, err := readDocument(f, h)
	if errors.Is(err, errMismatch) {
		s.drop(h)
		return nil, errdefs.New(errdefs.ErrNotFound, "%s in the cache was broken", short(h))
	}
	return raw, err
}

// putDocument keeps a small blob.
func (s *store) putDocument(h v1.Hash, raw []byte) error {
	path := s.blob(h)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fsutil.NoSpace(err)
	}
	return fsutil.NoSpace(fsutil.WriteAtomic(path, raw, 0o600))
}

// tagRecord is what a tag meant.
type tagRecord struct {
	Reference string          `json:"reference"`
	Digest    v1.Hash         `json:"digest"`
	MediaType types.MediaType `json:"media_type"`
	Checked   time.Time       `json:"checked"`
}

func (s *store) tagFile(reference string) string {
	h, _ := hashOf("sha256", []byte(reference)) // sha256 is always known
	return filepath.Join(s.dir, "tags", h.Hex+".json")
}

// tag returns what reference meant when it was last recorded; false when that is not known.
func (s *store) tag(reference string) (tagRecord, bool, error) {
	raw, err := os.ReadFile(s.tagFile(reference))
	if errors.Is(err, fs.ErrNotExist) {
		return tagRecord{}, false, nil
	}
	if err != nil {
		return tagRecord{}, false, err
	}
	var t tagRecord
	if !decodeTag(raw, &t) || t.Reference != reference {
		return tagRecord{}, false, nil // as good as none: it is written again
	}
	return t, true, nil
}

func decodeTag(raw []byte, t *tagRecord) bool {
	return json.Unmarshal(raw, t) == nil && t.Reference != "" && t.Digest.Algorithm != ""
}

func (s *store) putTag(t tagRecord) error {
	raw, err := json.Marshal(t)
	if err != nil {
		return err
	}
	path := s.tagFile(t.Reference)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fsutil.NoSpace(err)
	}
	return fsutil.NoSpace(fsutil.WriteAtomic(path, raw, 0o600))
}

// pin keeps blobs from Prune until the returned function, which may be called more than once, is called.
func (s *store) pin(hs []v1.Hash) (unpin func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range hs {
		s.pins[h]++
	}
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, h := range hs {
			if s.pins[h]--; s.pins[h] == 0 {
				delete(s.pins, h)
			}
		}
	})
}

// claim opens the partial file of a blob for this process alone. Should another process hold it, which happens while one
// daemon replaces another, it is a new file, which nobody resumes.
func (s *store) claim(h v1.Hash) (*os.File, error) {
	path := s.partial(h)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fsutil.NoSpace(err)
	}
	f, err := openLocked(path)
	if err == nil || !errors.Is(err, unix.EWOULDBLOCK) {
		return f, fsutil.NoSpace(err)
	}
	var b [4]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
	f, err = openLocked(path + "." + hex.EncodeToString(b[:]))
	return f, fsutil.NoSpace(err)
}

// openLocked opens path and flocks it, or fails with EWOULDBLOCK. The lock ends with the process, however that ends.
func openLocked(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// Between open and lock, its last owner may have published it: then this is a finished blob, not to be written.
	mine, err := f.Stat()
	if err == nil {
		var there os.FileInfo
		if there, err = os.Lstat(path); err == nil && !os.SameFile(mine, there) {
			err = fmt.Errorf("lock %s: %w", path, unix.EWOULDBLOCK)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("lock %s: %w", path, unix.EWOULDBLOCK)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// publish brings a whole partial file to disk and gives it its place.
func (s *store) publish(f *os.File, h v1.Hash) error {
	path := s.blob(h)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fsutil.NoSpace(err)
	}
	if err := f.Sync(); err != nil {
		return fsutil.NoSpace(err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fsutil.NoSpace(err)
	}
	return fsutil.SyncDir(filepath.Dir(path))
}
