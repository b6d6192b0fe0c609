package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/fsutil"
	"github.com/banger-dev/banger/internal/op"
)

// copied is what is known of a catalog that was fetched.
type copied struct {
	entries []Entry
	etag    string
	at      time.Time // when it was known to be current
	due     time.Time // when to ask again
}

// load returns the entries of a source.
func (c *Catalog) load(ctx context.Context, source string) ([]Entry, error) {
	u, err := place(source)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "file" {
		return loadFile(u)
	}
	unlock, err := c.fetches.Lock(ctx, source)
	if err != nil {
		return nil, fmt.Errorf("read catalog %s: %w", u.Redacted(), err)
	}
	defer unlock()
	old := c.remembered(source, u)
	if now := time.Now(); old.entries != nil && now.After(old.at) && now.Before(old.due) {
		return old.entries, nil
	}
	fresh, err := c.fetch(ctx, u, old)
	if err == nil {
		fresh.due = fresh.at.Add(c.o.MaxAge)
		c.remember(source, fresh)
		return fresh.entries, nil
	}
	if old.entries != nil && ctx.Err() == nil && errors.Is(err, errdefs.ErrUnavailable) {
		old.due = time.Now().Add(c.o.MaxAge / 10)
		c.remember(source, old)
		op.Warn(ctx, fmt.Sprintf("a copy of %s is used: %v", old.at.Local().Format(time.DateTime), err))
		return old.entries, nil
	}
	if errors.Is(err, errdefs.ErrUnavailable) {
		err = errdefs.WithHint(err, "an image of a registry can still be pulled by a reference with its host; "+
			"or take the catalog out of the configuration")
	}
	return nil, err
}

func loadFile(u *url.URL) ([]Entry, error) {
	data, err := readFile(u.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errdefs.New(errdefs.ErrUnavailable, "read catalog: %s does not exist", u.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("read catalog: %w", err)
	}
	return parse(data, u.Path, u)
}

func readFile(path string) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readDocument(f)
}

// openRegular opens a file that is not a device or a FIFO, which might never end.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errdefs.New(errdefs.ErrInvalid, "%s is not a regular file", path)
	}
	return os.Open(path)
}

func readDocument(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if len(data) > maxDocument {
		return nil, errdefs.New(errdefs.ErrInvalid, "the catalog has more than %d bytes", maxDocument)
	}
	return data, err
}

// stored is a copy on disk, next to which is nothing else.
type stored struct {
	URL      string          `json:"url"`
	ETag     string          `json:"etag,omitempty"`
	Fetched  time.Time       `json:"fetched"`
	Document json.RawMessage `json:"document"`
}

func (c *Catalog) copyFile(source string) string {
	sum := sha256.Sum256([]byte(source))
	return filepath.Join(c.o.CacheDir, hex.EncodeToString(sum[:16])+".json")
}

// remembered returns what was fetched before, by this process or another. A copy that is damaged counts as none.
func (c *Catalog) remembered(source string, u *url.URL) copied {
	c.mu.Lock()
	known, ok := c.recent[source]
	c.mu.Unlock()
	if ok {
		return known
	}
	b, err := os.ReadFile(c.copyFile(source))
	if errors.Is(err, fs.ErrNotExist) {
		return copied{}
	}
	var s stored
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err == nil && s.URL != source {
		err = errors.New("it is of another catalog")
	}
	var entries []Entry
	if err == nil {
		entries, err = parse(s.Document, u.Redacted(), u)
	}
	if err != nil {
		c.o.Log.Warn("copy of catalog is not used", "catalog", u.Redacted(), "error", err)
		return copied{}
	}
	return copied{entries, s.ETag, s.Fetched, s.Fetched.Add(c.o.MaxAge)}
}

func (c *Catalog) remember(source string, v copied) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recent[source] = v
}

// fetch asks for the catalog, unless it is still the old one. The new one is kept on disk; a failure of that is logged
// only.
func (c *Catalog) fetch(ctx context.Context, u *url.URL, old copied) (copied, error) {
	ctx, cancel := context.WithTimeout(ctx, wholeDocument)
	defer cancel()
	header, attempts := http.Header{"Accept": {"application/json"}}, maxAttempts
	if old.entries != nil {
		attempts = 1 // the old one will do
	}
	if old.entries != nil && old.etag != "" {
		header.Set("If-None-Match", old.etag)
	}
	resp, err := c.request(ctx, u.String(), header, attempts, http.StatusOK, http.StatusNotModified)
	if err != nil {
		return copied{}, fmt.Errorf("read catalog: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified {
		old.at = time.Now()
		return old, nil
	}
	data, err := readDocument(resp.Body)
	if err != nil {
		return copied{}, fmt.Errorf("read catalog %s: %w", u.Redacted(), unavailable(err))
	}
	entries, err := parse(data, u.Redacted(), u)
	if err != nil {
		return copied{}, err
	}
	fresh := copied{entries: entries, etag: resp.Header.Get("ETag"), at: time.Now().UTC()}
	if err := c.keep(u.String(), stored{u.String(), fresh.etag, fresh.at, data}); err != nil {
		c.o.Log.Warn("catalog could not be kept for use offline", "catalog", u.Redacted(), "error", err)
	}
	return fresh, nil
}

func (c *Catalog) keep(source string, s stored) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.o.CacheDir, 0o700); err != nil {
		return err
	}
	return fsutil.WriteAtomic(c.copyFile(source), b, 0o600)
}

// unavailable puts the errors of a connection into their class; those of a class stay.
func unavailable(err error) error {
	if errdefs.Class(err) != nil || errors.Is(err, context.Canceled) {
		return err
	}
	return errdefs.As(errdefs.ErrUnavailable, err)
}
