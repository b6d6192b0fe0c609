package paths

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/internal/errdefs"
)

func TestResolve(t *testing.T) {
	ours := t.TempDir()
	work := t.TempDir()
	t.Chdir(work)
	for _, c := range []struct {
		name string
		env  map[string]string
		want Dirs
	}{
		{
			name: "home alone",
			env:  map[string]string{"HOME": "/home/u"},
			want: Dirs{"/home/u/.config/banger", "/home/u/.local/state/banger", "/home/u/.cache/banger", "/home/u/.local/state/banger/run"},
		},
		{
			name: "xdg variables",
			env: map[string]string{
				"HOME": "/home/u", "XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "/k", "XDG_RUNTIME_DIR": ours,
			},
			want: Dirs{"/c/banger", "/s/banger", "/k/banger", ours + "/banger"},
		},
		{
			name: "xdg variables without a home",
			env:  map[string]string{"XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "/k"},
			want: Dirs{"/c/banger", "/s/banger", "/k/banger", "/s/banger/run"},
		},
		{
			name: "relative values are ignored",
			env:  map[string]string{"HOME": "/home/u", "XDG_STATE_HOME": "state", "XDG_RUNTIME_DIR": "run"},
			want: Dirs{"/home/u/.config/banger", "/home/u/.local/state/banger", "/home/u/.cache/banger", "/home/u/.local/state/banger/run"},
		},
		{
			name: "runtime directory that is not there",
			env:  map[string]string{"HOME": "/home/u", "XDG_RUNTIME_DIR": ours + "/absent"},
			want: Dirs{"/home/u/.config/banger", "/home/u/.local/state/banger", "/home/u/.cache/banger", "/home/u/.local/state/banger/run"},
		},
		{
			name: "one home for all, relative",
			env:  map[string]string{"HOME": "/home/u", "XDG_STATE_HOME": "/s", "BANGER_HOME": "b"},
			want: Dirs{work + "/b/config", work + "/b/state", work + "/b/cache", work + "/b/run"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			setenv(t, c.env)
			got, err := Resolve()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func setenv(t *testing.T, env map[string]string) {
	t.Helper()
	for _, name := range []string{"HOME", "BANGER_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"} {
		t.Setenv(name, env[name])
	}
}

func TestResolveWithoutHome(t *testing.T) {
	setenv(t, nil)
	_, err := Resolve()
	if !errors.Is(err, errdefs.ErrUnavailable) || errdefs.Hint(err) == "" {
		t.Errorf("got %v (hint %q), want an unavailable error with a hint", err, errdefs.Hint(err))
	}
}

func TestMake(t *testing.T) {
	setenv(t, map[string]string{"BANGER_HOME": t.TempDir()})
	d, err := Resolve()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(d.State, 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 { // idempotent
		if err := d.Make(); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{d.Config, d.State, d.Cache, d.Runtime, d.Images(), d.Kernels(), d.VMs(), d.Staging()} {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o700 {
			t.Errorf("%s has mode %o, want 700", dir, got)
		}
	}
}

func TestMakeRefusesForeignDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a directory away")
	}
	root := t.TempDir()
	setenv(t, map[string]string{"BANGER_HOME": root})
	d, err := Resolve()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(d.State, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	if err := d.Make(); !errors.Is(err, errdefs.ErrUnavailable) {
		t.Errorf("got %v, want an unavailable error", err)
	}
}
