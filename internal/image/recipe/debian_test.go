package recipe

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/internal/errdefs"
)

const hostList = `deb http://mirror.example/debian bookworm main
deb http://mirror.example/debian-security bookworm-security main
`

func TestDebianSources(t *testing.T) {
	for _, c := range []struct {
		name, mirror string
		files        map[string]string
		want         []string // URI and suites
	}{
		{name: "of the host", files: map[string]string{"sources.list": hostList}, want: []string{
			"http://mirror.example/debian bookworm", "http://mirror.example/debian-security bookworm-security",
		}},
		{name: "of another host"},
		{
			name:  "of a host that has only part of the release",
			files: map[string]string{"sources.list": "deb http://mirror.example/debian-security bookworm-security main"},
		},
		{name: "mirror", mirror: "http://near.example/debian", want: []string{"http://near.example/debian bookworm bookworm-updates"}},
		{
			name: "mirror, security updates of the host", mirror: "http://near.example/debian",
			files: map[string]string{"sources.list": hostList},
			want: []string{
				"http://near.example/debian bookworm bookworm-updates", "http://mirror.example/debian-security bookworm-security",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &Debian{mirror: c.mirror, etcApt: writeFiles(t, c.files)}
			sources, err := d.sources()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range sources {
				got = append(got, strings.Join(append(slices.Clone(s.URIs), s.Suites...), " "))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			scratch := t.TempDir()
			args, err := d.arguments(scratch)
			if err != nil {
				t.Fatal(err)
			}
			last := args[len(args)-1]
			if len(c.want) == 0 && last != "-" {
				t.Errorf("last argument %q", last)
			}
			if len(c.want) > 0 && last != filepath.Join(scratch, "debian.sources") {
				t.Errorf("last argument %q", last)
			}
		})
	}
}

func TestDebianNeedsTools(t *testing.T) {
	d := NewDebian("")
	t.Run("mmdebstrap", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		unavailable(t, d, "install the package mmdebstrap")
	})
	t.Run("keys", func(t *testing.T) {
		bin := t.TempDir()
		if err := os.WriteFile(filepath.Join(bin, mmdebstrap), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", bin)
		d.keyring = filepath.Join(bin, "absent")
		unavailable(t, d, "install the package debian-archive-keyring")
	})
}

func unavailable(t *testing.T, r Recipe, hint string) {
	t.Helper()
	_, err := r.Open(t.Context(), t.TempDir())
	if !errors.Is(err, errdefs.ErrUnavailable) || errdefs.Hint(err) != hint {
		t.Errorf("got %v (hint %q), want hint %q", err, errdefs.Hint(err), hint)
	}
}

func TestEpoch(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC)
	t.Setenv("SOURCE_DATE_EPOCH", "")
	if got := epoch(now); !got.Equal(time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("got %v", got)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "1234567890")
	if got := epoch(now); got.Unix() != 1234567890 {
		t.Errorf("got %v", got)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("SECRET", "s")
	t.Setenv("https_proxy", "http://proxy.example:3128")
	t.Setenv("NO_PROXY", "localhost")
	env := environment("/x/tmp")
	for _, want := range []string{"TMPDIR=/x/tmp", "https_proxy=http://proxy.example:3128", "NO_PROXY=localhost"} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is not in %v", want, env)
		}
	}
	if slices.Contains(env, "SECRET=s") {
		t.Error("the user's environment got in")
	}
}
