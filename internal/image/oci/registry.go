package oci

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/op"
)

// registrySource is an image in a registry, with the cache before it. It connects when the cache does not suffice.
type registrySource struct {
	p   *Puller
	ref Reference
	req Request

	mu     sync.Mutex
	client *http.Client
	base   string   // scheme://host/v2/repository
	pins   []func() // undone by Close
}

func (p *Puller) registry(ref Reference, r Request) *registrySource {
	return &registrySource{p: p, ref: ref, req: r}
}

func (s *registrySource) root(ctx context.Context, _ v1.Platform) (document, error) {
	if s.ref.Digest != "" {
		h, err := v1.NewHash(s.ref.Digest)
		if err != nil {
			return document{}, errdefs.As(errdefs.ErrInvalid, err)
		}
		return s.manifest(ctx, v1.Descriptor{Digest: h})
	}
	known, ok, err := s.p.store.tag(s.ref.String())
	if err != nil {
		return document{}, err
	}
	var cached document
	if ok {
		cached.raw, err = s.p.store.document(known.Digest)
		cached.digest, cached.kind = known.Digest, known.MediaType
		if ok = err == nil; !ok && !errors.Is(err, errdefs.ErrNotFound) {
			return document{}, err
		}
	}
	switch {
	case ok && s.req.Policy != PullAlways:
		op.Log(ctx).Info("tag is known from the cache", "image", s.ref.String(), "digest", known.Digest.String(), "checked", known.Checked)
		return cached, nil
	case s.req.Policy == PullNever:
		return document{}, s.notCached()
	case ok && s.unchanged(ctx, known.Digest):
		return cached, s.remember(cached)
	}
	d, err := s.get(ctx, "manifests/"+s.ref.Tag, v1.Hash{})
	if err != nil {
		if ok && errors.Is(err, errdefs.ErrUnavailable) && errdefs.Hint(err) == "" {
			err = errdefs.WithHint(err, "the cache has this image as it was at %s: use --pull missing", known.Checked.Format(time.DateTime))
		}
		return document{}, err
	}
	if err := s.p.store.putDocument(d.digest, d.raw); err != nil {
		return document{}, err
	}
	return d, s.remember(d)
}

func (s *registrySource) remember(d document) error {
	return s.p.store.putTag(tagRecord{Reference: s.ref.String(), Digest: d.digest, MediaType: d.kind, Checked: time.Now().UTC().Truncate(time.Second)})
}

func (s *registrySource) notCached() error {
	return errdefs.WithHint(errdefs.New(errdefs.ErrNotFound, "it is not in the cache"), "--pull missing lets banger ask the registry")
}

// unchanged asks what the tag means now, without its manifest: that is cheap, and registries do not count it as a pull.
func (s *registrySource) unchanged(ctx context.Context, want v1.Hash) bool {
	resp, err := s.do(ctx, http.MethodHead, "manifests/"+s.ref.Tag, manifestHeader())
	if err != nil {
		return false // the request for the manifest will tell
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK && resp.Header.Get("Docker-Content-Digest") == want.String()
}

func (s *registrySource) manifest(ctx context.Context, d v1.Descriptor) (document, error) {
	doc, err := s.small(ctx, d, "manifests/")
	doc.kind = cmp.Or(d.MediaType, doc.kind)
	return doc, err
}

func (s *registrySource) config(ctx context.Context, d v1.Descriptor) ([]byte, error) {
	doc, err := s.small(ctx, d, "blobs/")
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return doc.raw, nil
}

// small returns a document by its digest, from the cache if it is there.
func (s *registrySource) small(ctx context.Context, d v1.Descriptor, where string) (document, error) {
	raw, err := s.p.store.document(d.Digest)
	if err == nil {
		return document{digest: d.Digest, raw: raw}, nil
	}
	if !errors.Is(err, errdefs.ErrNotFound) {
		return document{}, err
	}
	if s.req.Policy == PullNever {
		return document{}, s.notCached()
	}
	doc, err := s.get(ctx, where+d.Digest.String(), d.Digest)
	if err != nil {
		return document{}, err
	}
	return doc, s.p.store.putDocument(doc.digest, doc.raw)
}

// use keeps the blobs of the image in the cache until Close, and says at once what PullNever would miss later.
func (s *registrySource) use(digest v1.Hash, m *v1.Manifest) error {
	pins := []v1.Hash{digest, m.Config.Digest}
	for _, l := range m.Layers {
		pins = append(pins, l.Digest)
	}
	s.mu.Lock()
	s.pins = append(s.pins, s.p.store.pin(pins))
	s.mu.Unlock()
	if s.req.Policy != PullNever {
		return nil
	}
	for _, l := range m.Layers {
		if !s.p.store.has(l) {
			return fmt.Errorf("layer %s: %w", short(l.Digest), s.notCached())
		}
	}
	return nil
}

func (s *registrySource) layer(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	t, err := s.p.running.join(ctx, d, s.blob)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return s.p.store.open(d)
	}
	return s.p.running.follow(ctx, t), nil
}

func (s *registrySource) fetch(ctx context.Context, d v1.Descriptor) error {
	t, err := s.p.running.join(ctx, d, s.blob)
	if err != nil {
		return err
	}
	name := "download layer"
	if t == nil {
		name = "cached layer"
	}
	stage := op.Begin(ctx, name, short(d.Digest))
	stage.Total(d.Size)
	if t == nil {
		stage.Add(d.Size)
		return stage.End(nil)
	}
	defer s.p.running.leave(t)
	return stage.End(t.wait(ctx, stage.Add))
}

func (s *registrySource) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, unpin := range s.pins {
		unpin()
	}
	s.pins = nil
	return nil
}
