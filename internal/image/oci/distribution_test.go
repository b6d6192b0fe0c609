package oci

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/banger-dev/banger/internal/errdefs"
)

// TestDistribution pulls from the registry that most others are made of. It runs with BANGER_TEST_REGISTRY=1, and then
// docker-registry and htpasswd must be there.
func TestDistribution(t *testing.T) {
	if os.Getenv("BANGER_TEST_REGISTRY") != "1" {
		t.Skip("BANGER_TEST_REGISTRY is not 1")
	}
	for _, auth := range []bool{false, true} {
		t.Run(fmt.Sprintf("auth=%v", auth), func(t *testing.T) {
			host := startDistribution(t, auth)
			c := distributionClient{t: t, base: "http://" + host + "/v2/team/app/"}
			req := Request{Reference: host + "/team/app:v1", Platform: amd64}
			if auth {
				c.user = url.UserPassword(user, "plain")
				req.AuthFile = writeFile(t, filepath.Join(t.TempDir(), "auth.json"),
					fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":"plain"}}}`, host, user), 0o600)
			}
			want := everyCodec()
			want.layers = append(want.layers, gzipLayer(9, 8<<20))
			want = makeImage(amd64, want.layers...)
			c.push("v1", want)
			index := indexOf(makeImage("linux/arm64").descriptor(), want.descriptor())
			c.put("manifests/multi", string(types.OCIImageIndex), index)
			p := newPuller(t)
			i := resolveOrFail(t, p, req)
			g, ctx := errgroup.WithContext(t.Context())
			g.Go(func() error { return i.Fetch(ctx) })
			checkLayers(t, i, want)
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
			if req.Policy = PullAlways; resolveOrFail(t, p, req).Digest != want.digest() {
				t.Error("the tag has changed")
			}
			t.Run("resume", func(t *testing.T) {
				p := newPuller(t)
				l := want.layers[len(want.layers)-1]
				f, err := p.store.claim(l.descriptor().Digest)
				if err != nil {
					t.Fatal(err)
				}
				f.Write(l.stored[:5<<20])
				f.Close()
				checkLayers(t, resolveOrFail(t, p, req), want)
			})
			t.Run("absent", func(t *testing.T) {
				req := req
				req.Reference = host + "/team/app:absent"
				if _, err := p.Resolve(t.Context(), req); !errors.Is(err, errdefs.ErrNotFound) {
					t.Errorf("got %v", err)
				}
			})
			t.Run("without credentials", func(t *testing.T) {
				req := req
				req.AuthFile = ""
				_, err := newPuller(t).Resolve(t.Context(), req)
				if (err != nil) != auth || auth && !errors.Is(err, errdefs.ErrUnavailable) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// startDistribution runs docker-registry on loopback until the test's end and returns its address.
func startDistribution(t *testing.T, auth bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	l.Close() // for the registry, which cannot choose itself
	dir := t.TempDir()
	config := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n", filepath.Join(dir, "data"), host)
	if auth {
		line, err := exec.CommandContext(t.Context(), "htpasswd", "-nbB", user, "plain").Output()
		if err != nil {
			t.Fatal("htpasswd: ", err)
		}
		config += fmt.Sprintf("auth: {htpasswd: {realm: test, path: %s}}\n", writeFile(t, filepath.Join(dir, "htpasswd"), strings.TrimSpace(string(line))+"\n", 0o600))
	}
	cmd := exec.CommandContext(t.Context(), "docker-registry", "serve", writeFile(t, filepath.Join(dir, "config.yml"), config, 0o600))
	cmd.Stdout, cmd.Stderr = testWriter{t}, testWriter{t}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	deadline, tick := time.NewTimer(20*time.Second), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("tcp", host); err == nil {
			c.Close()
			return host
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("docker-registry does not listen")
		}
	}
}

type distributionClient struct {
	t    *testing.T
	base string
	user *url.Userinfo
}

func (c distributionClient) push(tag string, i *testImage) {
	for h, b := range i.blobs() {
		location := c.send(http.MethodPost, c.base+"blobs/uploads/", "", nil)
		c.send(http.MethodPut, location+"&digest="+url.QueryEscape(h.String()), "application/octet-stream", b)
	}
	c.put("manifests/"+tag, string(i.kind), i.manifest)
	arm := makeImage("linux/arm64") // for the index
	for h, b := range arm.blobs() {
		location := c.send(http.MethodPost, c.base+"blobs/uploads/", "", nil)
		c.send(http.MethodPut, location+"&digest="+url.QueryEscape(h.String()), "application/octet-stream", b)
	}
	c.put("manifests/arm", string(arm.kind), arm.manifest)
}

func (c distributionClient) put(path, kind string, body []byte) {
	c.send(http.MethodPut, c.base+path, kind, body)
}

// send returns where the answer points to.
func (c distributionClient) send(method, to, kind string, body []byte) string {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, to, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	if c.user != nil {
		secret, _ := c.user.Password()
		req.SetBasicAuth(c.user.Username(), secret)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(resp.Body)
		c.t.Fatalf("%s %s: %s %s", method, to, resp.Status, text)
	}
	return resp.Header.Get("Location")
}
