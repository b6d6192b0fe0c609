package image

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
)

// TestBuildDockerfile has a builder that builds but cannot save.
func TestBuildDockerfile(t *testing.T) {
	f := newFixture(t).withPuller(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "Dockerfile")
	req := api.ImageBuild{Dockerfile: file, Context: dir, Name: "app"}
	t.Setenv("PATH", dir)
	_, err := f.Export(t.Context(), pulledApp(t, f).Name, api.ImageExport{File: file})
	must(t, err)
	if _, err := f.Build(t.Context(), req); !errors.Is(err, errdefs.ErrUnavailable) || errdefs.Hint(err) == "" {
		t.Errorf("without a builder: %v", err)
	}
	const script = `#!/bin/sh
case $1 in
build) echo sha256:1 >"$6";;
push) echo broken; exit 3;;
esac
`
	must(t, os.WriteFile(filepath.Join(dir, "buildah"), []byte(script), 0o700))
	_, err = f.Build(t.Context(), req)
	if err == nil || !strings.Contains(err.Error(), "buildah push: exit status 3:\nbroken") {
		t.Errorf("got %v", err)
	}
	for _, bad := range []api.ImageBuild{{Dockerfile: "x", Context: dir, Name: "x"}, {Dockerfile: file, Context: dir}} {
		if _, err := f.Build(t.Context(), bad); !errors.Is(err, errdefs.ErrInvalid) {
			t.Errorf("got %v", err)
		}
	}
	if names := f.consistent(t); len(names) != 1 {
		t.Errorf("images %v", names)
	}
}
