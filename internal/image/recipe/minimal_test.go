package recipe

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/banger-dev/banger/internal/errdefs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// read returns the whole stream.
func read(t *testing.T, r Recipe) []byte {
	t.Helper()
	s, err := r.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatalf("%v (%s)", err, errdefs.Hint(err))
	}
	data, err := io.ReadAll(s)
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return data
}

func TestMinimal(t *testing.T) {
	data := read(t, NewMinimal())
	type entry struct {
		Type byte
		Mode int64
		Link string
	}
	found := map[string]entry{}
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := found[h.Name]; twice {
			t.Errorf("%s is there twice", h.Name)
		}
		if h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s belongs to %d:%d", h.Name, h.Uid, h.Gid)
		}
		found[h.Name] = entry{h.Typeflag, h.Mode, h.Linkname}
	}
	for name, want := range map[string]entry{
		"usr/bin/busybox": {tar.TypeReg, 0o755, ""},
		"usr/bin/sh":      {tar.TypeSymlink, 0o777, "/usr/bin/busybox"},
		"usr/bin/cat":     {tar.TypeSymlink, 0o777, "/usr/bin/busybox"},
		"usr/bin/ip":      {},
		"usr/sbin/ip":     {tar.TypeSymlink, 0o777, "/usr/bin/busybox"},
		"bin":             {tar.TypeSymlink, 0o777, "usr/bin"},
		"etc/shadow":      {tar.TypeReg, 0o600, ""},
		"tmp/":            {tar.TypeDir, 0o1777, ""},
		"root/":           {tar.TypeDir, 0o700, ""},
		"root/.profile":   {tar.TypeReg, 0o644, ""},
	} {
		if diff := cmp.Diff(want, found[name]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if sha256.Sum256(data) != sha256.Sum256(read(t, NewMinimal())) {
		t.Error("two archives differ")
	}
}

func TestMinimalRefuses(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, path, text string }{
		{"absent", filepath.Join(dir, "absent"), "find busybox: "},
		{"no executable", script, "it is no executable"},
		{"dynamic", "/bin/ls", "it is not static"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := (&Minimal{busybox: c.path}).Open(t.Context(), dir)
			if !errors.Is(err, errdefs.ErrUnavailable) || errdefs.Hint(err) == "" || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v (hint %q), want %q", err, errdefs.Hint(err), c.text)
			}
		})
	}
}

func TestMinimalBrokenOff(t *testing.T) {
	s, err := NewMinimal().Open(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(s, make([]byte, 1000)); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
