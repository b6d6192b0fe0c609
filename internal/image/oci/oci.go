// Package oci finds container images in registries, OCI layouts and archives, and gives their layers as verified tar
// streams. Layers from registries go through a cache by digest, in which an interrupted download goes on where it
// ended, and out of which everything works without a network.
//
// It follows the OCI image specification 1.1, the OCI distribution specification 1.1 and, for older registries, Docker's
// image manifest version 2, schema 2. What it reads is foreign: sizes are bounded, content is checked against its digest,
// and nothing of an archive is ever unpacked.
package oci

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/op"
)

// The pull policies: when a registry is asked although the answer is in the cache.
const (
	PullMissing = "missing" // only for what the cache does not have
	PullAlways  = "always"  // for what a tag means; content by digest comes from the cache
	PullNever   = "never"   // never
)

// Options are what [New] needs. Only CacheDir is required.
type Options struct {
	CacheDir  string // the Puller's own; made when missing
	Parallel  int    // layers of one image that are downloaded at once; 0: 3
	Limits    Limits
	UserAgent string                          // what registries see; empty: banger
	Env       func(key string) (string, bool) // where credentials are looked for; nil: os.LookupEnv
	Log       *slog.Logger                    // nil: slog.Default()
}

// Limits bound what an image may ask for. Zero fields mean the defaults.
type Limits struct {
	Layer int64 // bytes of one layer, compressed or not; default 256 GiB
	Ratio int64 // bytes that one compressed byte may become, beyond RatioFree; default 256
	Free  int64 // bytes of one layer, uncompressed, that no ratio is asked of; default 16 GiB
}

// Request names an image.
type Request struct {
	// Reference is name[:tag][@digest] as docker knows it, or oci:DIR[:tag], oci-archive:FILE[:tag],
	// docker-archive:FILE[:tag], or archive:FILE[:tag], which is either of these. Paths are absolute; see [Absolute].
	Reference string
	Platform  string // os/arch[/variant]; empty: linux on this machine's processor
	Insecure  bool   // the registry may speak plain HTTP or show a certificate that cannot be verified
	CAFile    string // PEM certificates that are trusted besides the system's
	AuthFile  string // a credential file that is asked before the usual ones
	Policy    string // PullMissing, PullAlways or PullNever; empty: PullMissing
}

// Puller resolves and reads images. Its methods may be called concurrently. One process uses a cache directory.
type Puller struct {
	o       Options
	store   *store
	retry   retryPolicy
	running transfers

	mu    sync.Mutex
	pools map[poolKey]*http.Transport
}

// New makes a Puller. Call [Puller.Close] when it is no longer used.
func New(o Options) *Puller {
	o.Limits = o.Limits.withDefaults()
	if o.Parallel <= 0 {
		o.Parallel = 3
	}
	if o.UserAgent == "" {
		o.UserAgent = "banger"
	}
	if o.Env == nil {
		o.Env = os.LookupEnv
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := newStore(o.CacheDir)
	return &Puller{
		o: o, store: s, retry: defaultRetry,
		running: transfers{store: s, log: o.Log, retry: defaultRetry},
		pools:   make(map[poolKey]*http.Transport),
	}
}

// Close closes the connections that are not in use. Images that were resolved stay usable.
func (p *Puller) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.pools {
		t.CloseIdleConnections()
	}
	clear(p.pools)
	return nil
}

func (l Limits) withDefaults() Limits {
	if l.Layer <= 0 {
		l.Layer = 256 << 30
	}
	if l.Ratio <= 0 {
		l.Ratio = 256
	}
	if l.Free <= 0 {
		l.Free = 16 << 30
	}
	return l
}

// Resolve finds the image that r names: its manifest for the platform and its configuration, both verified. The layers
// are not read. The caller calls [Image.Close].
//
// An image, tag or platform that is not there is errdefs.ErrNotFound, or under PullNever one that the cache has not whole;
// what an archive or registry says wrongly is errdefs.ErrInvalid; a registry that cannot be reached or refuses is
// errdefs.ErrUnavailable.
func (p *Puller) Resolve(ctx context.Context, r Request) (*Image, error) {
	ref, err := ParseReference(r.Reference)
	if err != nil {
		return nil, err
	}
	want, err := parsePlatform(r.Platform)
	if err != nil {
		return nil, err
	}
	if err := checkPolicy(r.Policy); err != nil {
		return nil, err
	}
	stage := op.Begin(ctx, "resolve image", ref.String())
	i, err := p.resolve(ctx, ref, want, r)
	if err != nil {
		return nil, stage.End(fmt.Errorf("image %s: %w", ref, err))
	}
	return i, stage.End(nil)
}

func (p *Puller) resolve(ctx context.Context, ref Reference, want v1.Platform, r Request) (*Image, error) {
	src, err := p.source(ctx, ref, r)
	if err != nil {
		return nil, err
	}
	i, err := resolve(ctx, src, ref, want, p.o.Limits)
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	i.parallel = p.o.Parallel
	return i, nil
}

func (p *Puller) source(ctx context.Context, ref Reference, r Request) (source, error) {
	if ref.Kind == Registry {
		return p.registry(ref, r), nil
	}
	return openLocal(ctx, ref, p.store, p.o.Limits)
}

func checkPolicy(policy string) error {
	switch policy {
	case "", PullMissing, PullAlways, PullNever:
		return nil
	}
	return errdefs.WithHint(errdefs.New(errdefs.ErrInvalid, "pull policy %q is not known", policy),
		"use %s, %s or %s", PullMissing, PullAlways, PullNever)
}
