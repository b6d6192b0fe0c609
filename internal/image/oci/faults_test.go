package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/banger-dev/banger/internal/errdefs"
)

// plainLayer is uncompressed, so that what arrives can be compared byte by byte.
func plainLayer(seed uint64, n int) testLayer {
	plain := tarOf(seed, n)
	return testLayer{mediaType: types.OCIUncompressedLayer, stored: plain, plain: plain}
}

// isBlob tells whether r reads the blob of l.
func isBlob(r *http.Request, l testLayer) bool {
	return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/blobs/"+l.descriptor().Digest.String())
}

// cut answers with the first n bytes and breaks the connection.
func cut(w http.ResponseWriter, content []byte, n int) {
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	w.Header().Set("ETag", `"one"`)
	w.Write(content[:n])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// oneLayer puts an image with one layer of n bytes into a registry.
func oneLayer(t *testing.T, n int) (*testRegistry, *testImage, Request) {
	t.Helper()
	r, i := newRegistry(t), makeImage(amd64, plainLayer(1, n))
	r.put(t, "app", "v1", i)
	return r, i, Request{Reference: r.ref("app:v1"), Platform: amd64}
}

// firstTime calls f for the first request of the layer; the registry answers the others.
func firstTime(l testLayer, f func(w http.ResponseWriter, r *http.Request)) func(http.ResponseWriter, *http.Request) bool {
	var once atomic.Bool
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !isBlob(r, l) || once.Swap(true) {
			return false
		}
		f(w, r)
		return true
	}
}

// always calls f for all requests of the layer.
func always(l testLayer, f func(w http.ResponseWriter, r *http.Request)) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !isBlob(r, l) {
			return false
		}
		f(w, r)
		return true
	}
}

// rangeOf returns the first byte that a request asks for, or 0.
func rangeOf(r *http.Request) int64 {
	first, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-")
	n, _ := strconv.ParseInt(first, 10, 64)
	return n
}

func TestCutConnection(t *testing.T) {
	r, want, req := oneLayer(t, 1<<20)
	l := want.layers[0]
	r.intercept(firstTime(l, func(w http.ResponseWriter, _ *http.Request) { cut(w, l.stored, 400_000) }))
	i := resolveOrFail(t, newPuller(t), req)
	checkLayers(t, i, want)
	seen := r.seen("/blobs/" + l.descriptor().Digest.String())
	if len(seen) != 2 {
		t.Fatalf("%d requests, want 2", len(seen))
	}
	if got := rangeOf(seen[1]); got != 400_000 || seen[1].Header.Get("If-Range") != `"one"` {
		t.Errorf("asked for the rest from %d on, with If-Range %q", got, seen[1].Header.Get("If-Range"))
	}
}

func TestCutOften(t *testing.T) { // each connection gives enough to count as a success
	r, want, req := oneLayer(t, 1<<20)
	l := want.layers[0]
	r.intercept(always(l, func(w http.ResponseWriter, q *http.Request) {
		from := rangeOf(q)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(l.stored)-1, len(l.stored)))
		w.Header().Set("Content-Length", strconv.Itoa(len(l.stored)-int(from)))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(l.stored[from:min(int(from)+100_000, len(l.stored))])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	checkLayers(t, resolveOrFail(t, newPuller(t), req), want)
}

func TestServerWithoutRanges(t *testing.T) {
	r, want, req := oneLayer(t, 1<<20)
	l := want.layers[0]
	var n atomic.Int32
	r.intercept(always(l, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) == 1 {
			cut(w, l.stored, 400_000)
		}
		w.Write(l.stored)
	}))
	checkLayers(t, resolveOrFail(t, newPuller(t), req), want)
}

func TestStall(t *testing.T) {
	r, want, req := oneLayer(t, 1<<20)
	l := want.layers[0]
	r.intercept(firstTime(l, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(l.stored)))
		w.Write(l.stored[:1000])
		w.(http.Flusher).Flush()
		<-q.Context().Done()
	}))
	p := newPuller(t)
	p.running.retry.stall = 50 * time.Millisecond
	checkLayers(t, resolveOrFail(t, p, req), want)
}

func TestLayerFaults(t *testing.T) {
	tests := []struct {
		name  string
		fault func(w http.ResponseWriter, l testLayer)
		want  error
		text  string
		most  int // requests
		keeps bool
	}{
		{"wrong content", func(w http.ResponseWriter, l testLayer) { w.Write(bytes.Repeat([]byte{'x'}, len(l.stored))) }, errdefs.ErrInvalid, "digest", 1, false},
		{"too long", func(w http.ResponseWriter, l testLayer) { w.Write(append(l.stored, 'x')) }, errdefs.ErrInvalid, "more than", 1, false},
		{"truncated for ever", func(w http.ResponseWriter, l testLayer) { w.Write(l.stored[:100]) }, errdefs.ErrUnavailable, "5 times in a row", 6, true},
		{"gone", func(w http.ResponseWriter, _ testLayer) { w.WriteHeader(http.StatusNotFound) }, errdefs.ErrNotFound, "404", 1, true},
		{"fails for ever", func(w http.ResponseWriter, _ testLayer) { w.WriteHeader(http.StatusInternalServerError) }, errdefs.ErrUnavailable, "500", 5, true},
		{"another range", func(w http.ResponseWriter, _ testLayer) {
			w.Header().Set("Content-Range", "bytes 5-9/10")
			w.WriteHeader(http.StatusPartialContent)
		}, errdefs.ErrInvalid, "bytes 5-9/10", 1, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, want, req := oneLayer(t, 100_000)
			l := want.layers[0]
			r.intercept(always(l, func(w http.ResponseWriter, _ *http.Request) { tt.fault(w, l) }))
			p := newPuller(t)
			i := resolveOrFail(t, p, req)
			g, ctx := errgroup.WithContext(t.Context())
			g.Go(func() error { return i.Fetch(ctx) })
			_, openErr := readLayer(t.Context(), i, 0)
			for _, err := range []error{g.Wait(), openErr} {
				if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("got %v", err)
				}
			}
			// Fetch and Open may have come one after the other.
			if n := len(r.seen("/blobs/" + l.descriptor().Digest.String())); n > 2*tt.most {
				t.Errorf("%d requests, want at most %d each", n, tt.most)
			}
			if p.store.has(l.descriptor()) {
				t.Error("the layer is in the cache")
			}
			if _, err := os.Stat(p.store.partial(l.descriptor().Digest)); !tt.keeps && err == nil {
				t.Error("wrong content is kept for resuming")
			}
		})
	}
}

// pauses records how long a puller would have waited.
func pauses(p *Puller) *[]time.Duration {
	var mu sync.Mutex
	var all []time.Duration
	p.retry.pause = func(_ context.Context, d time.Duration) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, d)
		return nil
	}
	return &all
}

func TestRetryAfter(t *testing.T) {
	r, want, req := oneLayer(t, 1000)
	var n atomic.Int32
	r.intercept(func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.Contains(q.URL.Path, "/manifests/") || n.Add(1) > 2 {
			return false
		}
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	p := newPuller(t)
	waited := pauses(p)
	checkLayers(t, resolveOrFail(t, p, req), want)
	if len(*waited) != 2 || (*waited)[0] != 7*time.Second {
		t.Errorf("waited %v, want 7s twice", *waited)
	}
}

func TestRetryAfterTooLong(t *testing.T) {
	r, _, req := oneLayer(t, 1000)
	r.intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	p := newPuller(t)
	waited := pauses(p)
	_, err := p.Resolve(t.Context(), req)
	if !errors.Is(err, errdefs.ErrUnavailable) || !strings.Contains(err.Error(), "1h0m0s") || len(*waited) != 0 {
		t.Errorf("got %v after waiting %v", err, *waited)
	}
}

func TestServerErrors(t *testing.T) {
	for _, tt := range []struct {
		name     string
		failures int32
		ok       bool
	}{{"passing", 3, true}, {"lasting", 1000, false}} {
		t.Run(tt.name, func(t *testing.T) {
			r, want, req := oneLayer(t, 1000)
			var n atomic.Int32
			r.intercept(func(w http.ResponseWriter, q *http.Request) bool {
				if strings.Contains(q.URL.Path, "/manifests/") && n.Add(1) <= tt.failures {
					w.WriteHeader(http.StatusInternalServerError)
					return true
				}
				return false
			})
			i, err := newPuller(t).Resolve(t.Context(), req)
			if tt.ok {
				if err != nil {
					t.Fatal(err)
				}
				defer i.Close()
				checkLayers(t, i, want)
				return
			}
			if !errors.Is(err, errdefs.ErrUnavailable) || n.Load() != 5 {
				t.Errorf("got %v after %d requests", err, n.Load())
			}
		})
	}
}

func TestWrongManifest(t *testing.T) {
	r, want, req := oneLayer(t, 1000)
	for name, f := range map[string]func(w http.ResponseWriter){
		"not what its header says": func(w http.ResponseWriter) {
			w.Header().Set("Docker-Content-Digest", want.digest())
			w.Write([]byte(`{"schemaVersion":2}`))
		},
		"huge": func(w http.ResponseWriter) { w.Write(bytes.Repeat([]byte{' '}, maxDocument+1)) },
	} {
		t.Run(name, func(t *testing.T) {
			r.intercept(func(w http.ResponseWriter, q *http.Request) bool {
				if strings.Contains(q.URL.Path, "/manifests/") {
					f(w)
					return true
				}
				return false
			})
			if _, err := newPuller(t).Resolve(t.Context(), req); !errors.Is(err, errdefs.ErrInvalid) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// drip sends one byte at a time until the client is gone.
func drip(w http.ResponseWriter, r *http.Request, content []byte, each time.Duration) {
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	tick := time.NewTicker(each)
	defer tick.Stop()
	for n := range content {
		if _, err := w.Write(content[n : n+1]); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

func TestCancelSlowDownload(t *testing.T) {
	r, want, req := oneLayer(t, 1<<20)
	l := want.layers[0]
	r.intercept(always(l, func(w http.ResponseWriter, q *http.Request) { drip(w, q, l.stored, 5*time.Millisecond) }))
	i := resolveOrFail(t, newPuller(t), req)
	ctx, cancel := context.WithCancel(t.Context())
	g, ctx := errgroup.WithContext(ctx)
	var stopped time.Time
	g.Go(func() error { return i.Fetch(ctx) })
	g.Go(func() error {
		body, err := i.Open(ctx, 0)
		if err != nil {
			return err
		}
		defer body.Close()
		if _, err := io.ReadFull(body, make([]byte, 1)); err == nil {
			return errors.New("a chunk came of a drip")
		}
		return nil
	})
	time.AfterFunc(100*time.Millisecond, func() { stopped = time.Now(); cancel() })
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(stopped); took > time.Second {
		t.Errorf("cancelling took %v", took)
	}
}

func TestReadWhileItGrows(t *testing.T) {
	r, want, req := oneLayer(t, 4<<20)
	l := want.layers[0]
	release := make(chan struct{})
	r.intercept(always(l, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(l.stored)))
		w.Write(l.stored[:2<<20])
		w.(http.Flusher).Flush()
		<-release
		w.Write(l.stored[2<<20:])
	}))
	i := resolveOrFail(t, newPuller(t), req)
	body, err := i.Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	half := make([]byte, 1<<20)
	if _, err := io.ReadFull(body, half); err != nil || !bytes.Equal(half, l.plain[:1<<20]) {
		t.Fatalf("the beginning: %v", err)
	}
	close(release)
	rest, err := io.ReadAll(body)
	if err != nil || !bytes.Equal(rest, l.plain[1<<20:]) {
		t.Fatalf("the rest: %v", err)
	}
}

func TestPullsOfOneBlobShare(t *testing.T) {
	r, want, req := oneLayer(t, 1<<20)
	l := want.layers[0]
	begun, release := make(chan struct{}), make(chan struct{})
	r.intercept(always(l, func(w http.ResponseWriter, _ *http.Request) {
		close(begun) // panics the second time
		<-release
		w.Write(l.stored)
	}))
	p := newPuller(t)
	first, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	i := resolveOrFail(t, p, req)
	go func() { gone <- i.Fetch(first) }()
	<-begun
	var g errgroup.Group
	for range 4 {
		body, err := resolveOrFail(t, p, req).Open(t.Context(), 0) // has joined
		if err != nil {
			t.Fatal(err)
		}
		g.Go(func() error {
			defer body.Close()
			got, err := io.ReadAll(body)
			if err == nil && !bytes.Equal(got, l.plain) {
				err = errors.New("content differs")
			}
			return err
		})
	}
	cancel() // the one who began gives up
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the one who gave up got %v", err)
	}
	close(release)
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func TestResumeAcrossProcesses(t *testing.T) {
	for _, tt := range []struct {
		name  string
		left  func(stored []byte) []byte
		from  int64
		again bool
	}{
		{"what was there is right", func(b []byte) []byte { return b[:500_000] }, 500_000, false},
		{"all was there", func(b []byte) []byte { return b }, -1, false},
		{"too much was there", func(b []byte) []byte { return append(bytes.Clone(b), 'x') }, 0, false},
		{"what was there is zeros", func([]byte) []byte { return make([]byte, 500_000) }, 500_000, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, want, req := oneLayer(t, 1<<20)
			d := want.layers[0].descriptor()
			p := newPuller(t)
			f, err := p.store.claim(d.Digest)
			if err != nil {
				t.Fatal(err)
			}
			f.Write(tt.left(want.layers[0].stored))
			f.Close()
			i := resolveOrFail(t, p, req)
			if err := i.Fetch(t.Context()); err != nil {
				t.Fatal(err)
			}
			checkLayers(t, i, want)
			seen := r.seen("/blobs/" + d.Digest.String())
			if tt.from < 0 {
				if len(seen) != 0 {
					t.Errorf("%d requests for what was there", len(seen))
				}
				return
			}
			if wantRequests := map[bool]int{false: 1, true: 2}[tt.again]; len(seen) != wantRequests || rangeOf(seen[0]) != tt.from {
				t.Errorf("%d requests, the first from byte %d on", len(seen), rangeOf(seen[0]))
			}
		})
	}
}

// TestKill9 pulls in a process that is killed amid the download, and goes on in this one.
func TestKill9(t *testing.T) {
	if cache := os.Getenv("BANGER_TEST_PULL_CACHE"); cache != "" {
		i, err := New(Options{CacheDir: cache}).Resolve(t.Context(), Request{Reference: os.Getenv("BANGER_TEST_PULL_REF"), Platform: amd64})
		if err != nil {
			t.Fatal(err)
		}
		t.Fatal("not killed: ", i.Fetch(t.Context()))
	}
	r, want, req := oneLayer(t, 1<<20)
	l := want.layers[0]
	r.intercept(firstTime(l, func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(l.stored)))
		w.Write(l.stored[:600_000])
		w.(http.Flusher).Flush()
		<-q.Context().Done() // the process is gone
	}))
	cache := t.TempDir()
	p := pullerAt(t, cache, nil)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill9$")
	cmd.Env = append(os.Environ(), "BANGER_TEST_PULL_CACHE="+cache, "BANGER_TEST_PULL_REF="+req.Reference)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	partial := p.store.partial(l.descriptor().Digest)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for size := int64(0); size < 600_000; {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("nothing came")
		}
		if info, err := os.Stat(partial); err == nil {
			size = info.Size()
		}
	}
	cmd.Process.Signal(syscall.SIGKILL)
	cmd.Wait()
	checkLayers(t, resolveOrFail(t, p, req), want)
	seen := r.seen("/blobs/" + l.descriptor().Digest.String())
	if len(seen) != 2 || rangeOf(seen[1]) != 600_000 {
		t.Errorf("%d requests, the last from byte %d on", len(seen), rangeOf(seen[len(seen)-1]))
	}
}

func TestOtherProcessDownloads(t *testing.T) {
	_, want, req := oneLayer(t, 1000)
	p := newPuller(t)
	f, err := p.store.claim(want.layers[0].descriptor().Digest) // as another process would
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	checkLayers(t, resolveOrFail(t, p, req), want)
}

func TestWrongDiffID(t *testing.T) {
	r := newRegistry(t)
	good := makeImage(amd64, plainLayer(1, 1000))
	good.config = bytes.ReplaceAll(good.config, []byte(mustHash(good.layers[0].plain).Hex), []byte(strings.Repeat("0", 64)))
	r.put(t, "app", "v1", good.seal())
	i := resolveOrFail(t, newPuller(t), Request{Reference: r.ref("app:v1"), Platform: amd64})
	if _, err := readLayer(t.Context(), i, 0); !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), "uncompressed") {
		t.Errorf("got %v", err)
	}
}

func TestBomb(t *testing.T) {
	for name, compress := range map[string]func([]byte) []byte{"gzip": gzipped, "zstd": zstded} {
		t.Run(name, func(t *testing.T) {
			plain := make([]byte, 8<<20)
			l := testLayer{types.OCILayer, compress(plain), plain}
			i := makeImage(amd64, l)
			r := newRegistry(t)
			r.put(t, "app", "v1", i)
			p := newPuller(t)
			p.o.Limits.Free, p.o.Limits.Ratio = 1<<20, 10
			got := resolveOrFail(t, p, Request{Reference: r.ref("app:v1"), Platform: amd64})
			read, err := readLayer(t.Context(), got, 0)
			if !errors.Is(err, errdefs.ErrInvalid) || len(read) > 2<<20 {
				t.Errorf("%d bytes, then %v", len(read), err)
			}
		})
	}
}

func TestBrokenCompression(t *testing.T) {
	good := gzipped(tarOf(1, 1000))
	for name, stored := range map[string][]byte{
		"gzip cut":         good[:len(good)-10],
		"gzip header":      good[:3],
		"zstd cut":         zstded(tarOf(1, 1000))[:500],
		"zstd window":      {0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 0x00, 0x00, 0x00},
		"xz":               []byte("\xfd7zXZ\x00 and more"),
		"gzip and rubbish": append(bytes.Clone(good), "rubbish"...),
	} {
		t.Run(name, func(t *testing.T) {
			d := v1.Descriptor{Digest: mustHash(stored), Size: int64(len(stored))}
			l := Layer{Size: d.Size, descriptor: d, diffID: mustHash(tarOf(1, 1000))}
			r, err := decode(t.Context(), l, Limits{}.withDefaults(), func(context.Context) (io.ReadCloser, error) {
				return verify(io.NopCloser(bytes.NewReader(stored)), d, nil)
			})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, err := io.Copy(io.Discard, r); !errors.Is(err, errdefs.ErrInvalid) {
				t.Errorf("got %v", err)
			}
		})
	}
}
