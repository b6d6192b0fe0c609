// Package catalog finds bundles by name. A catalog is a JSON document that gives each bundle's place and sha256:
//
//	{"format": 1, "entries": [
//	  {"name": "web", "kind": "image", "url": "web.tar.zst", "sha256": "…64 hex digits…",
//	   "size": 123, "arch": "x86_64", "distro": "debian", "version": "12", "description": "…"}
//	]}
//
// name, kind ("image" or "kernel"), url and sha256 are needed. A relative URL is one from where the catalog is. The
// user's configuration names catalogs by file or URL; one is compiled in, and is empty: recipes and the distribution's
// packages are the default. A name is looked up in the user's catalogs in their order, then in the one compiled in.
//
// Catalogs and what they name come from strangers, but a catalog is trusted as far as its sha256 sums go: whoever may
// change it decides what is run. It should be fetched over https, or be a file.
package catalog

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/image/bundle"
	"github.com/banger-dev/banger/internal/keylock"
	"github.com/banger-dev/banger/internal/names"
	"github.com/banger-dev/banger/internal/op"
)

// Entry is a bundle that can be fetched.
type Entry struct {
	Name        string
	Kind        string // bundle.KindImage or bundle.KindKernel
	URL         string // absolute: http, https or file
	SHA256      string // 64 hex digits
	Size        int64  // bytes of the bundle; 0: not known
	Arch        string // bundle.Arch
	Distro      string
	Version     string
	Description string
	Catalog     string // which one it is in; "built-in" is the one compiled in
}

// Options are what a Catalog needs.
type Options struct {
	Sources   []string          // what CheckSource takes, the most important first
	CacheDir  string            // where copies of fetched catalogs are kept; made when needed
	MaxAge    time.Duration     // for how long a copy is used unasked; 0: ten minutes
	Transport http.RoundTripper // nil: the usual one
	Log       *slog.Logger
}

// Catalog looks up names. Its methods may be called concurrently.
type Catalog struct {
	o       Options
	client  *http.Client
	builtin []Entry
	fetches keylock.Locks // by source, held while it is fetched

	mu     sync.Mutex
	recent map[string]copied // by source

	pause func(attempt int) time.Duration // before a request is made again
	idle  time.Duration                   // after which a silent server is given up
}

// Builtin is what Entry.Catalog says for the catalog that is compiled in.
const Builtin = "built-in"

//go:embed builtin.json
var builtin []byte

// New returns a Catalog. It reads nothing yet. A source that CheckSource refuses is errdefs.ErrInvalid.
func New(o Options) (*Catalog, error) {
	for _, s := range o.Sources {
		if err := CheckSource(s); err != nil {
			return nil, err
		}
	}
	if o.MaxAge == 0 {
		o.MaxAge = 10 * time.Minute
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	entries, err := parse(builtin, Builtin, nil)
	if err != nil {
		return nil, err
	}
	return &Catalog{
		o: o, client: newClient(o.Transport), builtin: entries, recent: make(map[string]copied), pause: backoff, idle: idle,
	}, nil
}

// Lookup returns the entry of a kind and name. errdefs.ErrNotFound says that no catalog has it; it comes at once for a
// name that none could have. A catalog that cannot be read, nor was before, is an error, because it might have the name.
func (c *Catalog) Lookup(ctx context.Context, kind, name string) (Entry, error) {
	if names.Validate(kind, name) == nil {
		for _, source := range c.o.Sources {
			entries, err := c.load(ctx, source)
			if err != nil {
				return Entry{}, fmt.Errorf("look up %s %q: %w", kind, name, err)
			}
			if e, ok := find(entries, kind, name); ok {
				return e, nil
			}
		}
		if e, ok := find(c.builtin, kind, name); ok {
			return e, nil
		}
	}
	return Entry{}, errdefs.New(errdefs.ErrNotFound, "no catalog has the %s %q", kind, name)
}

// Available returns all entries of a kind that Lookup would return, by name. A catalog that cannot be read is left out
// with a warning.
func (c *Catalog) Available(ctx context.Context, kind string) ([]Entry, error) {
	var all []Entry
	for _, source := range c.o.Sources {
		entries, err := c.load(ctx, source)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("list catalogs: %w", context.Cause(ctx))
		}
		if err != nil {
			op.Warn(ctx, err.Error())
			continue
		}
		all = append(all, entries...)
	}
	var out []Entry
	for _, e := range append(all, c.builtin...) {
		if _, hidden := find(out, kind, e.Name); e.Kind == kind && !hidden {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func find(entries []Entry, kind, name string) (Entry, bool) {
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.Kind == kind && e.Name == name })
	if i < 0 {
		return Entry{}, false
	}
	return entries[i], true
}

// place returns the URL of an absolute path or a URL.
func place(source string) (*url.URL, error) {
	u, err := url.Parse(source)
	if err != nil {
		return nil, errdefs.New(errdefs.ErrInvalid, "catalog: %q is not a URL", source)
	}
	if u.Scheme == "" && len(source) > 0 && source[0] == '/' {
		return &url.URL{Scheme: "file", Path: source}, nil
	}
	return u, checkURL(u)
}

// CheckSource reports whether a catalog can be at source: an absolute path, or a URL of the scheme http, https or file.
func CheckSource(source string) error {
	_, err := place(source)
	return err
}

func checkURL(u *url.URL) error {
	remote := u.Scheme == "http" || u.Scheme == "https"
	local := u.Scheme == "file" && (u.Host == "" || u.Host == "localhost") && len(u.Path) > 0 && u.Path[0] == '/'
	if !local && (!remote || u.Host == "") {
		return errdefs.New(errdefs.ErrInvalid, "catalog: %q is neither an absolute path nor an http, https or file URL", u.Redacted())
	}
	return nil
}

// kinds are those of the entries.
var kinds = []string{bundle.KindImage, bundle.KindKernel}
