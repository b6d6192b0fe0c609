package oci

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/banger-dev/banger/internal/errdefs"
)

const (
	user     = "jane"
	password = "s3cret:with/odd@bytes"
)

func writeFile(t *testing.T, path, content string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// authFile is what docker login and podman login write.
func authFile(key string) string {
	return fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, key, base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
}

// wantBasic lets only requests with the credentials pass.
func wantBasic(w http.ResponseWriter, r *http.Request) bool {
	if u, p, ok := r.BasicAuth(); ok && u == user && p == password {
		return false
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
	w.WriteHeader(http.StatusUnauthorized)
	return true
}

func TestCredentialSources(t *testing.T) {
	r, want, req := oneLayer(t, 1000)
	r.intercept(wantBasic)
	dir := t.TempDir()
	path := func(name ...string) string { return filepath.Join(append([]string{dir}, name...)...) }
	writeFile(t, path("host", "config.json"), authFile(r.host()), 0o600)
	writeFile(t, path("home", ".docker", "config.json"), authFile("https://"+r.host()+"/v1/"), 0o600)
	writeFile(t, path("podmanhome", ".config", "containers", "auth.json"), authFile(r.host()+"/app"), 0o600)
	writeFile(t, path("run", "containers", "auth.json"), authFile(r.host()), 0o600)
	writeFile(t, path("other", "config.json"), authFile("other.example"), 0o600)
	writeFile(t, path("helper", "config.json"), fmt.Sprintf(`{"credHelpers":{%q:"bangertest"}}`, r.host()), 0o600)
	writeFile(t, path("store", "config.json"), `{"auths":{},"credsStore":"bangertest"}`, 0o600)
	writeFile(t, path("bin", "docker-credential-bangertest"), fmt.Sprintf(`#!/bin/sh
read -r host
[ "$1 $host" = "get %s" ] || { echo "credentials not found in native keychain"; exit 1; }
echo '{"ServerURL":"x","Username":"%s","Secret":"%s"}'
`, r.host(), user, password), 0o700)
	t.Setenv("PATH", path("bin")+":"+os.Getenv("PATH"))
	for name, env := range map[string]map[string]string{
		"REGISTRY_AUTH_FILE":            {"REGISTRY_AUTH_FILE": path("host", "config.json")},
		"DOCKER_CONFIG":                 {"DOCKER_CONFIG": path("host")},
		"docker in the home":            {"HOME": path("home")},
		"podman in the runtime dir":     {"XDG_RUNTIME_DIR": path("run")},
		"podman in the home":            {"HOME": path("podmanhome")},
		"docker without, podman with":   {"DOCKER_CONFIG": path("other"), "XDG_RUNTIME_DIR": path("run")},
		"credential helper":             {"DOCKER_CONFIG": path("helper")},
		"credential store":              {"DOCKER_CONFIG": path("store")},
		"store without, podman with it": {"DOCKER_CONFIG": path("other"), "REGISTRY_AUTH_FILE": path("store", "config.json")},
	} {
		t.Run(name, func(t *testing.T) {
			checkLayers(t, resolveOrFail(t, pullerAt(t, t.TempDir(), env), req), want)
		})
	}
	t.Run("in the request", func(t *testing.T) {
		req := req
		req.AuthFile = path("host", "config.json")
		checkLayers(t, resolveOrFail(t, newPuller(t), req), want)
	})
	t.Run("none", func(t *testing.T) {
		_, err := newPuller(t).Resolve(t.Context(), req)
		if !errors.Is(err, errdefs.ErrUnavailable) || !strings.Contains(errdefs.Hint(err), "login "+r.host()) {
			t.Errorf("got %v, hint %q", err, errdefs.Hint(err))
		}
	})
}

func TestBrokenCredentialSources(t *testing.T) {
	_, _, req := oneLayer(t, 1000)
	dir := t.TempDir()
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	writeFile(t, filepath.Join(dir, "docker-credential-broken"), "#!/bin/sh\necho "+password+"; echo "+password+" >&2; exit 3", 0o700)
	for name, content := range map[string]string{
		"no JSON":          `{"auths": {"x": "` + password + `"`,
		"wrong types":      `{"auths": {"x": "` + password + `"}}`,
		"helper fails":     `{"credsStore": "broken"}`,
		"helper is absent": `{"credsStore": "absent"}`,
		"helper is a path": `{"credsStore": "../../bin/sh"}`,
	} {
		t.Run(name, func(t *testing.T) {
			file := writeFile(t, filepath.Join(dir, "auth.json"), content, 0o600)
			p := pullerAt(t, t.TempDir(), map[string]string{"REGISTRY_AUTH_FILE": file})
			_, err := p.Resolve(t.Context(), Request{Reference: strings.Replace(req.Reference, "127.0.0.1", "localhost", 1)})
			if errdefs.Class(err) == nil || strings.Contains(err.Error()+errdefs.Hint(err), password) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// tokenService lets requests with its token pass, and gives one to whoever shows the credentials.
func tokenService(r *testRegistry, scopes *[]string) func(w http.ResponseWriter, q *http.Request) bool {
	return func(w http.ResponseWriter, q *http.Request) bool {
		if q.URL.Path == "/token" {
			if u, p, _ := q.BasicAuth(); u != user || p != password {
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
			*scopes = append(*scopes, q.URL.Query()["scope"]...)
			fmt.Fprint(w, `{"token":"t0ken"}`)
			return true
		}
		if q.Header.Get("Authorization") == "Bearer t0ken" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+r.server.URL+`/token",service="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
}

func TestBearerToken(t *testing.T) {
	r, want, req := oneLayer(t, 1000)
	var scopes []string
	r.intercept(tokenService(r, &scopes))
	req.AuthFile = writeFile(t, filepath.Join(t.TempDir(), "auth.json"), authFile(r.host()), 0o600)
	checkLayers(t, resolveOrFail(t, newPuller(t), req), want)
	if len(scopes) != 1 || scopes[0] != "repository:app:pull" {
		t.Errorf("asked for %q", scopes)
	}
}

func TestSecretsStaySecret(t *testing.T) {
	r, _, req := oneLayer(t, 1000)
	req.AuthFile = writeFile(t, filepath.Join(t.TempDir(), "auth.json"), authFile(r.host()), 0o600)
	encoded := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	var scopes []string
	for name, front := range map[string]func(w http.ResponseWriter, q *http.Request) bool{
		"refused": func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		},
		"blob fails after redirect": func(w http.ResponseWriter, q *http.Request) bool {
			if wantBasic(w, q) {
				return true
			}
			if strings.Contains(q.URL.Path, "/blobs/") {
				w.Header().Set("Location", "http://127.0.0.1:1/x?X-Amz-Signature="+encoded)
				w.WriteHeader(http.StatusTemporaryRedirect)
				return true
			}
			return false
		},
		"token for nothing": func(w http.ResponseWriter, q *http.Request) bool {
			if q.URL.Path == "/token" {
				fmt.Fprintf(w, `{"refresh_token":%q}`, password)
				return true
			}
			return tokenService(r, &scopes)(w, q)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r.intercept(front)
			var logged bytes.Buffer
			p := New(Options{CacheDir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))})
			defer p.Close()
			p.retry.base = 1
			p.running.retry = p.retry
			i, err := p.Resolve(t.Context(), req)
			if err == nil {
				err = i.Fetch(t.Context())
				i.Close()
			}
			if err == nil {
				t.Fatal("no error")
			}
			for _, secret := range []string{password, encoded, "t0ken"} {
				if text := err.Error() + errdefs.Hint(err) + logged.String(); strings.Contains(text, secret) {
					t.Errorf("%q is in %s", secret, text)
				}
			}
		})
	}
}

func TestRedirectWithoutCredentials(t *testing.T) {
	for _, name := range []string{"basic", "bearer"} {
		t.Run(name, func(t *testing.T) {
			r, want, req := oneLayer(t, 1000)
			req.AuthFile = writeFile(t, filepath.Join(t.TempDir(), "auth.json"), authFile(r.host()), 0o600)
			var leaked []string
			storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				leaked = append(leaked, q.Header.Get("Authorization")+q.Header.Get("Cookie"))
				r.handler.ServeHTTP(w, q)
			}))
			defer storage.Close()
			check := wantBasic
			var scopes []string
			if name == "bearer" {
				check = tokenService(r, &scopes)
			}
			r.intercept(func(w http.ResponseWriter, q *http.Request) bool {
				if check(w, q) {
					return true
				}
				if strings.Contains(q.URL.Path, "/blobs/") {
					http.Redirect(w, q, storage.URL+q.URL.Path, http.StatusTemporaryRedirect)
					return true
				}
				return false
			})
			p := newPuller(t)
			checkLayers(t, resolveOrFail(t, p, req), want)
			if len(leaked) != 2 || strings.Join(leaked, "") != "" {
				t.Errorf("the other host got %q", leaked)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	r := newUnstarted()
	r.server = httptest.NewTLSServer(r)
	defer r.server.Close()
	r.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	want := makeImage(amd64, gzipLayer(1, 1000))
	r.put(t, "app", "v1", want)
	ca := writeFile(t, filepath.Join(t.TempDir(), "ca.pem"),
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw})), 0o600)
	req := Request{Reference: r.ref("app:v1"), Platform: amd64}
	_, err := newPuller(t).Resolve(t.Context(), req)
	if !errors.Is(err, errdefs.ErrUnavailable) || !strings.Contains(errdefs.Hint(err), "--ca") {
		t.Errorf("without its authority: %v, hint %q", err, errdefs.Hint(err))
	}
	req.CAFile = ca
	checkLayers(t, resolveOrFail(t, newPuller(t), req), want)
	req.CAFile, req.Insecure = "", true
	checkLayers(t, resolveOrFail(t, newPuller(t), req), want)
	req.CAFile = writeFile(t, filepath.Join(t.TempDir(), "none.pem"), "nothing", 0o600)
	if _, err := newPuller(t).Resolve(t.Context(), req); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("a CA file without certificates: %v", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestPlainGuard(t *testing.T) {
	for _, tt := range []struct {
		name, registry, url string
		insecure, passes    bool
	}{
		{"encrypted", "r.example", "https://r.example/v2/", false, true},
		{"plain", "r.example", "http://r.example/v2/", false, false},
		{"plain in a private network", "10.0.0.5:5000", "http://10.0.0.5:5000/v2/", false, false},
		{"plain, allowed", "r.example", "http://r.example/v2/", true, true},
		{"plain on this machine", "localhost:5000", "http://localhost:5000/v2/", false, true},
		{"plain on this machine, IPv6", "[::1]:5000", "http://[::1]:5000/v2/", false, true},
		{"sent to this machine", "r.example", "http://127.0.0.1:80/admin", false, false},
		{"sent away from this machine", "127.0.0.1:5000", "http://r.example/v2/", false, false},
		{"looks like this machine", "localhost.example", "http://localhost.example/v2/", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			passed := false
			g := plainGuard{registry: tt.registry, insecure: tt.insecure, inner: roundTripper(func(*http.Request) (*http.Response, error) {
				passed = true
				return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
			})}
			req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, tt.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := g.RoundTrip(req)
			if err == nil {
				resp.Body.Close()
			}
			if passed != tt.passes || (err == nil) != tt.passes {
				t.Errorf("passed: %v, error: %v", passed, err)
			}
		})
	}
}

func TestScrub(t *testing.T) {
	for in, want := range map[string]string{
		`Get "https://u:p@h.example/x?sig=1": refused`: `Get "https://…@h.example/x?…": refused`,
		`GET https://h/x?a=b: 404; https://i/y`:        `GET https://h/x?…: 404; https://i/y`,
		`https://u:p@h`:                                `https://…@h`,
		`nothing ? to @ hide`:                          `nothing ? to @ hide`,
		`://`:                                          `://`,
	} {
		if got := scrub(in); got != want {
			t.Errorf("%s becomes %s, want %s", in, got, want)
		}
	}
	if got := scrubError(errors.New("one\x1b[2J\ntwo")).Error(); got != "one?[2J" {
		t.Errorf("got %q", got)
	}
}
