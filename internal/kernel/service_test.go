package kernel_test

import (
	"path/filepath"
	"testing"

	"github.com/banger-dev/banger/internal/kernel"
	"github.com/banger-dev/banger/internal/paths"
	"github.com/banger-dev/banger/internal/store"
)

func newService(t *testing.T, agent string) *kernel.Service {
	t.Helper()
	home := t.TempDir()
	t.Setenv("BANGER_HOME", home)
	dirs, err := paths.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	if err := dirs.Make(); err != nil {
		t.Fatal(err)
	}
	records, err := store.Open(t.Context(), filepath.Join(home, "db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := records.Close(); err != nil {
			t.Error(err)
		}
	})
	return kernel.New(kernel.Options{Dirs: dirs, Records: records, AgentPath: agent})
}
