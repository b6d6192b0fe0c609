package kernel_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/kernel"
	"github.com/banger-dev/banger/internal/kernel/kerneltest"
	"github.com/banger-dev/banger/internal/paths"
	"github.com/banger-dev/banger/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const version = "6.1.0-56-cloud-amd64"

// fixture is a service with everything that it works on.
type fixture struct {
	*kernel.Service
	dirs    paths.Dirs
	records *records
	agent   string // path
	files   string // a directory with vmlinuz, config and modules to import
}

// records is the real store, with faults on demand.
type records struct {
	*store.Store
	put    error
	delete error
}

func (r *records) PutKernel(ctx context.Context, k api.Kernel) error {
	if r.put != nil {
		return r.put
	}
	return r.Store.PutKernel(ctx, k)
}

func (r *records) DeleteKernel(ctx context.Context, id string) error {
	if r.delete != nil {
		return r.delete
	}
	return r.Store.DeleteKernel(ctx, id)
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	home := t.TempDir()
	t.Setenv("BANGER_HOME", home)
	dirs, err := paths.Resolve()
	if err == nil {
		err = dirs.Make()
	}
	if err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), dirs.Database())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	f := &fixture{dirs: dirs, records: &records{Store: db}, agent: filepath.Join(home, "agent"), files: t.TempDir()}
	write(t, f.agent, []byte("agent one"))
	f.Service = kernel.New(kernel.Options{Dirs: dirs, Records: f.records, AgentPath: f.agent})
	f.writeKernel(t, version)
	return f
}

// writeKernel makes files to import: vmlinuz-<version>, config-<version>, modules/<version>.
func (f *fixture) writeKernel(t *testing.T, version string) {
	t.Helper()
	write(t, filepath.Join(f.files, "vmlinuz-"+version), bzImage(t, version))
	write(t, filepath.Join(f.files, "config-"+version), []byte("CONFIG_BLK_DEV_INITRD=y\nCONFIG_RD_ZSTD=y\nCONFIG_EXT4_FS=y\n"))
	for name, data := range kerneltest.Modules(version) {
		write(t, filepath.Join(f.files, "modules", version, name), data)
	}
}

func (f *fixture) request(name string) api.KernelImport {
	return api.KernelImport{
		Name: name, Vmlinux: filepath.Join(f.files, "vmlinuz-"+version), Modules: filepath.Join(f.files, "modules", version),
	}
}

func bzImage(t *testing.T, version string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(kerneltest.Vmlinux(version, kerneltest.Code(4000)))
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return kerneltest.BzImage(b.Bytes())
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// holds checks that exactly these kernels are there, as records and as files, and that nothing is staged.
func (f *fixture) holds(t *testing.T, want ...api.Kernel) {
	t.Helper()
	all, err := f.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, all, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("records: %s", diff)
	}
	if staged := names(t, f.dirs.Staging()); len(staged) > 0 {
		t.Errorf("staged: %v", staged)
	}
	if dirs := names(t, f.dirs.Kernels()); len(dirs) != len(want) {
		t.Errorf("directories: %v", dirs)
	}
	for _, k := range want {
		if _, err := os.Stat(k.Vmlinux.Path); err != nil {
			t.Error(err)
		}
	}
}

func (f *fixture) mustImport(t *testing.T, req api.KernelImport) api.Kernel {
	t.Helper()
	k, err := f.Import(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
