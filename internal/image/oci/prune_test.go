package oci

import (
	"errors"
	"io"
	"net/http"
	"os"
	"testing"

	"github.com/banger-dev/banger/internal/errdefs"
)

func TestPrune(t *testing.T) {
	r, p := newRegistry(t), newPuller(t)
	kept, open, gone := makeImage(amd64, gzipLayer(1, 1000)), makeImage(amd64, gzipLayer(2, 1000)), makeImage(amd64, gzipLayer(3, 1000))
	images := map[string]*testImage{"kept": kept, "open": open, "gone": gone}
	for tag, i := range images {
		r.put(t, "app", tag, i)
		got, err := p.Resolve(t.Context(), Request{Reference: r.ref("app:" + tag), Platform: amd64})
		if err != nil {
			t.Fatal(err)
		}
		checkLayers(t, got, i)
		if tag != "open" {
			got.Close()
		} else {
			defer got.Close()
		}
	}
	partial := mustHash([]byte("partial"))
	for _, name := range []string{p.store.partial(partial), p.store.partial(partial) + ".other"} {
		writeFile(t, name, "half", 0o600)
	}
	before, err := p.Usage(t.Context())
	if err != nil || len(before.Tags) != 3 || before.Partial != 8 {
		t.Fatalf("%+v, %v", before, err)
	}
	busy, err := p.store.claim(partial)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	freed, err := p.Prune(t.Context(), []string{kept.digest()})
	if err != nil {
		t.Fatal(err)
	}
	after, err := p.Usage(t.Context())
	if err != nil || len(after.Tags) != 2 || after.Partial != 4 || freed != before.Blobs+before.Partial-after.Blobs-after.Partial {
		t.Errorf("freed %d: %+v, %v", freed, after, err)
	}
	r.server.Close()
	for _, tag := range []string{"kept", "open"} {
		checkLayers(t, resolveOrFail(t, p, Request{Reference: r.ref("app:" + tag), Platform: amd64, Policy: PullNever}), images[tag])
	}
	if _, err := p.Resolve(t.Context(), Request{Reference: r.ref("app:gone"), Platform: amd64, Policy: PullNever}); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("what was pruned: %v", err)
	}
	if _, err := p.Prune(t.Context(), []string{"nonsense"}); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("nonsense: %v", err)
	}
}

func TestPruneLeavesDownloads(t *testing.T) {
	r, want, req := oneLayer(t, 1<<20)
	l := want.layers[0]
	release := make(chan struct{})
	r.intercept(always(l, func(w http.ResponseWriter, _ *http.Request) {
		w.Write(l.stored[:1<<19])
		w.(http.Flusher).Flush()
		<-release
		w.Write(l.stored[1<<19:])
	}))
	p := newPuller(t)
	body, err := resolveOrFail(t, p, req).Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, err := io.ReadFull(body, make([]byte, 1000)); err != nil {
		t.Error(err)
	}
	if _, err := p.Prune(t.Context(), nil); err != nil {
		t.Error(err)
	}
	close(release)
	if _, err := io.Copy(io.Discard, body); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(p.store.partial(l.descriptor().Digest)); err == nil {
		if err := resolveOrFail(t, p, req).Fetch(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestUsageOfNothing(t *testing.T) {
	p := newPuller(t)
	if u, err := p.Usage(t.Context()); err != nil || u.Blobs != 0 || u.Partial != 0 || u.Tags != nil {
		t.Errorf("got %+v, %v", u, err)
	}
	if freed, err := p.Prune(t.Context(), nil); err != nil || freed != 0 {
		t.Errorf("got %d, %v", freed, err)
	}
}
