package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/banger-dev/banger/internal/errdefs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const sum = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// text is a catalog of images, each with its URL.
func text(pairs ...string) string {
	var list []string
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, fmt.Sprintf(`{"name": %q, "kind": "image", "url": %q, "sha256": %q}`, pairs[i], pairs[i+1], sum))
	}
	return `{"format": 1, "entries": [` + strings.Join(list, ",") + `]}`
}

func file(t *testing.T, content string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "catalog.json")
	if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func open(t *testing.T, dir string, sources ...string) *Catalog {
	t.Helper()
	c, err := New(Options{Sources: sources, CacheDir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	c.pause = func(int) time.Duration { return time.Millisecond }
	return c
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestBuiltin(t *testing.T) {
	c := open(t, t.TempDir())
	for _, kind := range kinds {
		if _, err := c.Available(t.Context(), kind); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Lookup(t.Context(), "image", "no-such-image"); !errors.Is(err, errdefs.ErrNotFound) {
		t.Error(err)
	}
}

func TestPrecedence(t *testing.T) {
	first := file(t, text("web", "a/web.tar.zst", "db", "https://host.test/db.tar.zst"))
	second := file(t, `{"format": 1, "entries": [
		{"name": "web", "kind": "image", "url": "other", "sha256": "`+sum+`"},
		{"name": "lts", "kind": "kernel", "url": "k", "sha256": "sha256:`+strings.ToUpper(sum)+`", "version": "6.1"},
		{"name": "arm", "kind": "image", "url": "x", "sha256": "`+sum+`", "arch": "aarch64"}]}`)
	c := open(t, t.TempDir(), first, "file://"+second)
	for _, test := range []struct{ kind, name, url string }{
		{"image", "web", "file://" + filepath.Dir(first) + "/a/web.tar.zst"},
		{"image", "db", "https://host.test/db.tar.zst"},
		{"kernel", "lts", "file://" + filepath.Dir(second) + "/k"},
	} {
		e, err := c.Lookup(t.Context(), test.kind, test.name)
		if err != nil || e.URL != test.url || e.SHA256 != sum || e.Arch != "x86_64" {
			t.Errorf("%s %s: %+v, %v", test.kind, test.name, e, err)
		}
	}
	for _, absent := range [][2]string{{"kernel", "web"}, {"image", "arm"}, {"image", "docker.io/library/alpine:3"}, {"image", ""}} {
		if _, err := c.Lookup(t.Context(), absent[0], absent[1]); !errors.Is(err, errdefs.ErrNotFound) {
			t.Errorf("%v: %v", absent, err)
		}
	}
	list, err := c.Available(t.Context(), "image")
	var got []string
	for _, e := range list {
		got = append(got, e.Name+" "+filepath.Base(e.URL))
	}
	if diff := cmp.Diff([]string{"db db.tar.zst", "web web.tar.zst"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestRefusesDocuments(t *testing.T) {
	entry := `{"name": "web", "kind": "image", "url": "x", "sha256": "` + sum + `"}`
	in := func(old, fresh string) string {
		return `{"format": 1, "entries": [` + strings.Replace(entry, old, fresh, 1) + `]}`
	}
	for name, test := range map[string]struct{ text, err string }{
		"no JSON":            {"x", "invalid character"},
		"another format":     {`{"format": 2}`, "format 2 is not known"},
		"an unknown key":     {in(`"name"`, `"extra": 1, "name"`), `unknown field "extra"`},
		"a key twice":        {in(`"name"`, `"kind": "image", "name"`), "is there twice"},
		"an odd name":        {in("web", "../web"), "not valid"},
		"another kind":       {in(`"image"`, `"disk"`), `its kind is "disk"`},
		"no sha256":          {in(sum, "abc"), "not a sha256"},
		"no URL":             {in(`"x"`, `""`), "not a URL"},
		"an odd URL":         {in(`"x"`, `"ftp://host.test/x"`), "neither an absolute path"},
		"a name twice":       {`{"format": 1, "entries": [` + entry + "," + entry + "]}", "the name is there twice"},
		"negative size":      {in(`"name"`, `"size": -1, "name"`), "-1 bytes"},
		"control characters": {in(`"name"`, `"description": "\u001b[2J", "name"`), "not printable"},
		"too large":          {strings.Repeat(" ", maxDocument+1), "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			p := file(t, test.text)
			_, err := open(t, t.TempDir(), p).Lookup(t.Context(), "image", "web")
			if !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %v, want %q", err, test.err)
			}
		})
	}
	for _, source := range []string{"", "relative", "ftp://host.test/c", "https://", "file://elsewhere/c", "https:c", "%"} {
		if _, err := New(Options{Sources: []string{source}}); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("source %q: %v", source, err)
		}
	}
}

func TestRemoteCatalogMayNotNameFiles(t *testing.T) {
	at := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text("web", "file:///etc/passwd")) })
	if _, err := open(t, t.TempDir(), at).Lookup(t.Context(), "image", "web"); !errors.Is(err, errdefs.ErrInvalid) {
		t.Error(err)
	}
}

func TestOffline(t *testing.T) {
	var up atomic.Bool
	var asked, changed atomic.Int32
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("ETag", `"1"`)
		switch {
		case !up.Load():
			w.WriteHeader(http.StatusBadGateway)
		case r.Header.Get("If-None-Match") == `"1"`:
			w.WriteHeader(http.StatusNotModified)
		default:
			changed.Add(1)
			fmt.Fprint(w, text("web", "web.tar.zst"))
		}
	})
	dir := t.TempDir()
	look := func(c *Catalog) error {
		t.Helper()
		e, err := c.Lookup(t.Context(), "image", "web")
		if err == nil && e.URL != at+"/web.tar.zst" {
			t.Errorf("the URL is %s", e.URL)
		}
		return err
	}
	if err := look(open(t, dir, at+"/c.json")); !errors.Is(err, errdefs.ErrUnavailable) || errdefs.Hint(err) == "" {
		t.Errorf("never fetched: %v", err)
	}
	if got := asked.Swap(0); got != maxAttempts {
		t.Errorf("it was asked %d times", got)
	}
	up.Store(true)
	c := open(t, dir, at+"/c.json")
	for range 3 {
		if err := look(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := look(open(t, dir, at+"/c.json")); err != nil || asked.Load() != 1 {
		t.Errorf("a fresh copy: asked %d times, %v", asked.Load(), err)
	}
	old := open(t, dir, at+"/c.json")
	old.o.MaxAge = time.Nanosecond
	if err := look(old); err != nil || asked.Load() != 2 || changed.Load() != 1 {
		t.Errorf("an old copy: asked %d times, %v", asked.Load(), err)
	}
	up.Store(false)
	if err := look(old); err != nil || asked.Load() != 3 {
		t.Errorf("an old copy offline: asked %d times, %v", asked.Load(), err)
	}
	if _, err := old.Available(t.Context(), "image"); err != nil {
		t.Error(err)
	}
	for _, damage := range []string{"x", `{"url": "https://other.test", "document": {}}`} {
		files, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		if err := os.WriteFile(files[0], []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := look(open(t, dir, at+"/c.json")); !errors.Is(err, errdefs.ErrUnavailable) {
			t.Errorf("a damaged copy: %v", err)
		}
	}
}

func TestAvailableLeavesOutWhatFails(t *testing.T) {
	down := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	c := open(t, t.TempDir(), down, file(t, text("web", "x")), "/no/such/file")
	list, err := c.Available(t.Context(), "image")
	if err != nil || len(list) != 1 {
		t.Error(list, err)
	}
	if _, err := c.Lookup(t.Context(), "image", "web"); !errors.Is(err, errdefs.ErrUnavailable) {
		t.Errorf("a name that the first might have: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Available(ctx, "image"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestDownload fetches one file from servers that fail in some way at first.
func TestDownload(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 50_000)
	half := len(content) / 2
	send := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
	cut := func(w http.ResponseWriter, n int) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:n])
		panic(http.ErrAbortHandler)
	}
	for name, test := range map[string]struct {
		size    int64
		handler func(w http.ResponseWriter, r *http.Request, request int32)
		err     string
		class   error
	}{
		"all well": {size: int64(len(content)), handler: func(w http.ResponseWriter, r *http.Request, _ int32) { send(w, r) }},
		"cut, then the rest": {handler: func(w http.ResponseWriter, r *http.Request, n int32) {
			if n == 1 {
				cut(w, half)
			}
			if r.Header.Get("Range") == "" {
				t.Error("the whole was asked for again")
			}
			send(w, r)
		}},
		"cut, then all again": {handler: func(w http.ResponseWriter, r *http.Request, n int32) {
			if n == 1 {
				cut(w, half)
			}
			r.Header.Del("Range")
			send(w, r)
		}},
		"busy, then well": {handler: func(w http.ResponseWriter, r *http.Request, n int32) {
			if n < 3 {
				w.Header().Set("Retry-After", "0")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			send(w, r)
		}},
		"silent, then the rest": {handler: func(w http.ResponseWriter, r *http.Request, n int32) {
			if n == 1 {
				w.Header().Set("Content-Length", fmt.Sprint(len(content)))
				_, _ = w.Write(content[:half])
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				return
			}
			send(w, r)
		}},
		"cut always": {
			handler: func(w http.ResponseWriter, _ *http.Request, _ int32) { cut(w, 0) },
			err:     "EOF", class: errdefs.ErrUnavailable,
		},
		"gone": {
			handler: func(w http.ResponseWriter, _ *http.Request, _ int32) { w.WriteHeader(http.StatusNotFound) },
			err:     "the server answers 404", class: errdefs.ErrUnavailable,
		},
		"broken": {
			handler: func(w http.ResponseWriter, _ *http.Request, _ int32) { w.WriteHeader(http.StatusInternalServerError) },
			err:     "the server answers 500", class: errdefs.ErrUnavailable,
		},
		"another size": {
			size: 5, handler: func(w http.ResponseWriter, r *http.Request, _ int32) { send(w, r) },
			err: "the catalog says 5", class: errdefs.ErrInvalid,
		},
		"more than it should": {
			size: 5, handler: func(w http.ResponseWriter, _ *http.Request, _ int32) {
				_ = http.NewResponseController(w).Flush()
				_, _ = w.Write(content)
			},
			err: "more than the 5 bytes", class: errdefs.ErrInvalid,
		},
		"less than it should": {
			size: int64(len(content)) + 1, handler: func(w http.ResponseWriter, _ *http.Request, _ int32) {
				_ = http.NewResponseController(w).Flush()
				_, _ = w.Write(content)
			},
			err: "the catalog says", class: errdefs.ErrInvalid,
		},
		"around in circles": {
			handler: func(w http.ResponseWriter, r *http.Request, _ int32) { http.Redirect(w, r, "/", http.StatusFound) },
			err:     "redirections", class: errdefs.ErrUnavailable,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int32
			at := serve(t, func(w http.ResponseWriter, r *http.Request) { test.handler(w, r, requests.Add(1)) })
			c := open(t, t.TempDir())
			c.idle = 200 * time.Millisecond
			got, err := func() ([]byte, error) {
				r, err := c.Open(t.Context(), Entry{URL: at, Size: test.size})
				if err != nil {
					return nil, err
				}
				defer r.Close()
				return io.ReadAll(r)
			}()
			if test.err == "" && (err != nil || !bytes.Equal(got, content)) {
				t.Errorf("%d bytes of %d, %v", len(got), len(content), err)
			}
			if test.err != "" && (err == nil || !errors.Is(err, test.class) || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("got %v, want %q", err, test.err)
			}
		})
	}
}

func TestOpenFile(t *testing.T) {
	p := file(t, "bundle")
	c := open(t, t.TempDir())
	r, err := c.Open(t.Context(), Entry{URL: "file://" + p})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "bundle" {
		t.Error(string(b), err)
	}
	for _, bad := range []string{"file:///dev/zero", "file:///no/such/file", "ftp://host.test/"} {
		if _, err := c.Open(t.Context(), Entry{URL: bad}); err == nil {
			t.Errorf("%s was opened", bad)
		}
	}
}

func TestCancel(t *testing.T) {
	at := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("x"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	r, err := open(t, t.TempDir()).Open(ctx, Entry{URL: at})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestRedirects(t *testing.T) {
	request := func(u string) *http.Request { return &http.Request{URL: must(url.Parse(u))} }
	if err := checkRedirect(request("http://b.test"), []*http.Request{request("https://a.test")}); err == nil {
		t.Error("a redirection from https to http was followed")
	}
	if err := checkRedirect(request("https://b.test"), []*http.Request{request("http://a.test")}); err != nil {
		t.Error(err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// FuzzParse reads documents: an error or entries that are whole.
func FuzzParse(f *testing.F) {
	f.Add([]byte(text("web", "x", "db", "https://host.test/db")))
	f.Add([]byte(`{"format": 1, "entries": [{"name": "k", "kind": "kernel", "url": "../k", "sha256": "` + sum + `", "size": 7}]}`))
	f.Add([]byte(`{"format": 1, "entries": [{"name": "web", "name": "web"}]}`))
	at := must(url.Parse("https://host.test/catalogs/c.json"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parse(data, "c", at)
		if err != nil && !errors.Is(err, errdefs.ErrInvalid) {
			t.Error(err)
		}
		for _, e := range entries {
			u, err := url.Parse(e.URL)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || len(e.SHA256) != 64 || e.Name == "" {
				t.Errorf("%+v", e)
			}
		}
	})
}
