package oci

import (
	"errors"
	"strings"
	"testing"

	"github.com/banger-dev/banger/internal/errdefs"
)

const someDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestParseReference(t *testing.T) {
	for in, want := range map[string]string{
		"alpine":                              "docker.io/library/alpine:latest",
		"alpine:3.19":                         "docker.io/library/alpine:3.19",
		"docker.io/alpine":                    "docker.io/library/alpine:latest",
		"index.docker.io/library/alpine":      "docker.io/library/alpine:latest",
		"grafana/grafana":                     "docker.io/grafana/grafana:latest",
		"docker://alpine":                     "docker.io/library/alpine:latest",
		"localhost/app":                       "localhost/app:latest",
		"localhost:5000/a/b:v1":               "localhost:5000/a/b:v1",
		"[::1]:5000/app":                      "[::1]:5000/app:latest",
		"ghcr.io/a/b/c__d/e--f.g_h":           "ghcr.io/a/b/c__d/e--f.g_h:latest",
		"alpine@" + someDigest:                "docker.io/library/alpine@" + someDigest,
		"alpine:3.19@" + someDigest:           "docker.io/library/alpine@" + someDigest,
		"archive:latest":                      "docker.io/library/archive:latest",
		"oci":                                 "docker.io/library/oci:latest",
		"oci:/some/dir":                       "oci:/some/dir",
		"oci:dir:v1":                          "oci:dir:v1",
		"oci:dir:docker.io/library/alpine:v1": "oci:dir:docker.io/library/alpine:v1",
		"oci:dir@" + someDigest:               "oci:dir@" + someDigest,
		"oci-archive:/some/file.tar:v1":       "oci-archive:/some/file.tar:v1",
		"docker-archive:file.tar:alpine:3":    "docker-archive:file.tar:alpine:3",
		"archive:/some/file.tar":              "archive:/some/file.tar",
	} {
		got, err := ParseReference(in)
		if err != nil || got.String() != want {
			t.Errorf("%q is %q, want %q (%v)", in, got, want, err)
		}
	}
}

func TestParseReferenceRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"empty":               "",
		"upper case":          "Alpine",
		"URL":                 "https://u:hunter2@docker.io/alpine",
		"going up":            "host.example/../../etc/passwd",
		"dots":                "host.example/a/./b",
		"double slash":        "host.example/a//b",
		"slash at the end":    "host.example/a/",
		"slash at the start":  "/a",
		"no name":             "host.example/",
		"tag of nothing":      ":v1",
		"empty tag":           "alpine:",
		"tag begins with dot": "alpine:.x",
		"long tag":            "alpine:" + strings.Repeat("x", 129),
		"space":               "al pine",
		"newline":             "alpine\n",
		"query":               "host.example/a?b",
		"user":                "u:hunter2@host.example/a",
		"short digest":        "alpine@sha256:12",
		"other digest":        "alpine@md5:0123456789abcdef0123456789abcdef",
		"three underscores":   "a___b",
		"no path":             "oci:",
		"path with NUL":       "oci:/a\x00b",
		"path, bad digest":    "oci:/a@sha256:12",
		"host with percent":   "ho%20st.example/a",
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ParseReference(in)
			if !errors.Is(err, errdefs.ErrInvalid) {
				t.Fatalf("%q is taken as %q (%v)", in, r, err)
			}
			if name == "URL" && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("a password is in %q", err)
			}
		})
	}
}

func TestAbsolute(t *testing.T) {
	for in, want := range map[string]string{
		"alpine":                 "alpine",
		"oci:dir:v1":             "oci:/home/u/dir:v1",
		"oci-archive:../f.tar":   "oci-archive:/home/f.tar",
		"docker-archive:/f.tar":  "docker-archive:/f.tar",
		"oci:d@" + someDigest:    "oci:/home/u/d@" + someDigest,
		"not/../a//reference::x": "not/../a//reference::x",
	} {
		if got := Absolute(in, "/home/u"); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// FuzzParseReference: what is accepted says the same when it is read again, and can be no other path in a URL.
func FuzzParseReference(f *testing.F) {
	for _, s := range []string{
		"alpine", "localhost:5000/a/b:v1", "alpine:3@" + someDigest, "oci:dir:v1", "docker-archive:f.tar:a:b", "archive:/x",
		"oci-archive:/a@sha256:12", "[::1]:5000/app", "docker://x/y", "a/../b", "https://u:p@h/x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			if !errors.Is(err, errdefs.ErrInvalid) {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		again, err := ParseReference(r.String())
		if err != nil || again != r {
			t.Fatalf("%q is %+v, which is %+v (%v)", s, r, again, err)
		}
		if r.Kind == Registry && strings.ContainsAny(r.Host+r.Repo+r.Tag, "%?#@\\ \n") {
			t.Fatalf("%q is %+v", s, r)
		}
		if r.Kind == Registry && strings.Contains("/"+r.Repo+"/", "/../") {
			t.Fatalf("%q leaves its registry: %+v", s, r)
		}
	})
}
