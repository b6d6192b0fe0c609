package kernel_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
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

func TestImport(t *testing.T) {
	f := newFixture(t)
	k := f.mustImport(t, f.request("mine"))
	f.holds(t, k)
	if k.Name != "mine" || k.Version != version || k.Arch != "x86_64" || k.Modules == nil || len(k.ID) != 12 {
		t.Errorf("Import = %+v", k)
	}
	dir := filepath.Join(f.dirs.Kernels(), k.ID)
	want := []string{"initramfs-modules.cpio.zst", "manifest.json", "modules.ext4", "vmlinux"}
	if diff := cmp.Diff(want, names(t, dir)); diff != "" {
		t.Error(diff)
	}
	for _, name := range want {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o400 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	for _, reference := range []string{"mine", "min", k.ID, k.ID[:5]} {
		if got, err := f.Get(t.Context(), reference); err != nil || got.ID != k.ID {
			t.Errorf("Get(%s): %v", reference, err)
		}
	}
}

// TestImportIsDeterministic makes the same kernel twice, from directories with different names.
func TestImportIsDeterministic(t *testing.T) {
	one, two := newFixture(t), newFixture(t)
	if a, b := one.mustImport(t, one.request("a")), two.mustImport(t, two.request("b")); a.ID != b.ID {
		t.Errorf("the ids of one kernel are %s and %s", a.ID, b.ID)
	}
}

func TestImportFindsModulesBelow(t *testing.T) {
	f := newFixture(t)
	req := f.request("mine")
	req.Modules = filepath.Join(f.files, "modules")
	if k := f.mustImport(t, req); k.Modules == nil {
		t.Error("no modules")
	}
}

func TestImportNamesByFile(t *testing.T) {
	f := newFixture(t)
	if k := f.mustImport(t, f.request("")); k.Name != "linux-6-1-0-56-cloud-amd64" {
		t.Errorf("the name is %q", k.Name)
	}
}

func TestImportWithoutModules(t *testing.T) {
	f := newFixture(t)
	req := f.request("bare")
	req.Modules = ""
	k := f.mustImport(t, req)
	boot, err := f.Boot(t.Context(), k.ID)
	if err != nil || k.Modules != nil || boot.Modules != "" {
		t.Errorf("Boot = %+v, %v", boot, err)
	}
}

func TestImportRefuses(t *testing.T) {
	tests := []struct {
		name  string
		setup func(t *testing.T, f *fixture, req *api.KernelImport)
		want  string
		hint  string
		class error
	}{
		{"no file", func(_ *testing.T, _ *fixture, req *api.KernelImport) { req.Vmlinux += ".gone" }, "does not exist", "", errdefs.ErrInvalid},
		{"a directory", func(_ *testing.T, f *fixture, req *api.KernelImport) { req.Vmlinux = f.files }, "not a regular file", "", errdefs.ErrInvalid},
		{"no kernel", func(t *testing.T, f *fixture, req *api.KernelImport) {
			write(t, req.Vmlinux, bytes.Repeat([]byte("text "), 1000))
		}, "neither an x86 bzImage nor an ELF vmlinux", "", errdefs.ErrInvalid},
		{"truncated", func(t *testing.T, f *fixture, req *api.KernelImport) {
			image := bzImage(t, version)
			write(t, req.Vmlinux, image[:len(image)-10])
		}, "truncated", "", errdefs.ErrInvalid},
		{"modules not there", func(_ *testing.T, _ *fixture, req *api.KernelImport) { req.Modules += "-gone" }, "no directory", "", errdefs.ErrInvalid},
		{"no virtio", func(t *testing.T, _ *fixture, req *api.KernelImport) {
			if err := os.Remove(filepath.Join(req.Modules, "kernel/drivers/block/virtio_blk.ko")); err != nil {
				t.Fatal(err)
			}
		}, "no driver virtio_blk", "modules.builtin", errdefs.ErrInvalid},
		{"another kernel's modules", func(t *testing.T, f *fixture, req *api.KernelImport) {
			f.writeKernel(t, "6.2.0")
			req.Modules = filepath.Join(f.files, "modules", "6.2.0")
		}, `was built for kernel "6.2.0"`, "lib/modules/" + version, errdefs.ErrInvalid},
		{"a broken module", func(t *testing.T, _ *fixture, req *api.KernelImport) {
			write(t, filepath.Join(req.Modules, "kernel/fs/fuse/fuse.ko"), []byte("broken"))
		}, "module kernel/fs/fuse/fuse.ko", "", errdefs.ErrInvalid},
		{"no initramfs", func(t *testing.T, f *fixture, _ *api.KernelImport) {
			write(t, filepath.Join(f.files, "config-"+version), []byte("CONFIG_EXT4_FS=y\n"))
		}, "takes no initramfs", "CONFIG_BLK_DEV_INITRD", errdefs.ErrInvalid},
		{"nothing asked", func(_ *testing.T, _ *fixture, req *api.KernelImport) { req.Vmlinux = "" }, "either --host or --vmlinuz", "", errdefs.ErrInvalid},
		{"both asked", func(_ *testing.T, _ *fixture, req *api.KernelImport) { req.Host = true }, "either --host or --vmlinuz", "", errdefs.ErrInvalid},
		{"relative", func(_ *testing.T, _ *fixture, req *api.KernelImport) { req.Vmlinux = "vmlinuz" }, "must be absolute", "", errdefs.ErrInvalid},
		{"bad name", func(_ *testing.T, _ *fixture, req *api.KernelImport) { req.Name = "../x" }, "not valid", "letters", errdefs.ErrInvalid},
		{"the record fails", func(_ *testing.T, f *fixture, _ *api.KernelImport) {
			f.records.put = errdefs.New(errdefs.ErrExhausted, "full")
		}, "full", "", errdefs.ErrExhausted},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFixture(t)
			req := f.request("mine")
			test.setup(t, f, &req)
			_, err := f.Import(t.Context(), req)
			if !errors.Is(err, test.class) || !strings.Contains(err.Error(), test.want) || !strings.Contains(errdefs.Hint(err), test.hint) {
				t.Errorf("Import: %v (class %v, hint %q), want %q (%v, %q)", err, errdefs.Class(err), errdefs.Hint(err), test.want, test.class, test.hint)
			}
			f.holds(t)
		})
	}
}

func TestImportUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	f := newFixture(t)
	req := f.request("mine")
	if err := os.Chmod(req.Vmlinux, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Import(t.Context(), req); !errors.Is(err, errdefs.ErrUnavailable) || !strings.Contains(errdefs.Hint(err), "sudo install") {
		t.Errorf("Import: %v (hint %q)", err, errdefs.Hint(err))
	}
}

func TestImportTakenNames(t *testing.T) {
	f := newFixture(t)
	k := f.mustImport(t, f.request("mine"))
	if _, err := f.Import(t.Context(), f.request("mine")); !errors.Is(err, errdefs.ErrExists) {
		t.Errorf("the same name: %v", err)
	}
	if _, err := f.Import(t.Context(), f.request("other")); !errors.Is(err, errdefs.ErrExists) || !strings.Contains(err.Error(), "stored as mine") {
		t.Errorf("the same kernel: %v", err)
	}
	again := f.request("mine")
	again.Force = true
	if got := f.mustImport(t, again); got.ID != k.ID {
		t.Errorf("the same kernel again is %s", got.ID)
	}
	f.holds(t, k)
}

func TestImportReplaces(t *testing.T) {
	f := newFixture(t)
	old := f.mustImport(t, f.request("mine"))
	if _, err := f.Boot(t.Context(), old.ID); err != nil {
		t.Fatal(err)
	}
	f.writeKernel(t, "6.2.0")
	k := f.mustImport(t, api.KernelImport{
		Name: "mine", Force: true,
		Vmlinux: filepath.Join(f.files, "vmlinuz-6.2.0"), Modules: filepath.Join(f.files, "modules/6.2.0"),
	})
	if k.ID == old.ID {
		t.Fatal("the kernel is the same")
	}
	f.holds(t, k)
	if made := names(t, filepath.Join(f.dirs.Cache, "initramfs")); len(made) > 0 {
		t.Errorf("initramfs of the old kernel: %v", made)
	}
}

func TestRemove(t *testing.T) {
	f := newFixture(t)
	k := f.mustImport(t, f.request("mine"))
	f.records.delete = errdefs.New(errdefs.ErrInUse, "VM v uses it")
	if _, err := f.Remove(t.Context(), "mine"); !errors.Is(err, errdefs.ErrInUse) {
		t.Errorf("Remove: %v", err)
	}
	f.holds(t, k)
	f.records.delete = nil
	if _, err := f.Boot(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Remove(t.Context(), "mine"); err != nil || got.ID != k.ID {
		t.Errorf("Remove = %+v, %v", got, err)
	}
	f.holds(t)
	if made := names(t, filepath.Join(f.dirs.Cache, "initramfs")); len(made) > 0 {
		t.Errorf("initramfs: %v", made)
	}
	if _, err := f.Remove(t.Context(), "mine"); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("Remove again: %v", err)
	}
}

func TestSweep(t *testing.T) {
	f := newFixture(t)
	kept := f.mustImport(t, f.request("kept"))
	boot, err := f.Boot(t.Context(), kept.ID)
	if err != nil {
		t.Fatal(err)
	}
	f.writeKernel(t, "6.2.0")
	lost := f.mustImport(t, api.KernelImport{Name: "lost", Vmlinux: filepath.Join(f.files, "vmlinuz-6.2.0")})
	if err := os.RemoveAll(filepath.Dir(lost.Vmlinux.Path)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Boot(t.Context(), lost.ID); !errors.Is(err, errdefs.ErrUnavailable) || errdefs.Hint(err) == "" {
		t.Errorf("Boot of a kernel without files: %v", err)
	}
	cache := filepath.Join(f.dirs.Cache, "initramfs")
	write(t, filepath.Join(f.dirs.Kernels(), "0123456789ab", "vmlinux"), nil)
	write(t, filepath.Join(cache, "0123456789ab-0123456789abcdef.cpio"), nil)
	write(t, filepath.Join(cache, kept.ID+"-0123456789abcdef.cpio"), nil)
	write(t, filepath.Join(cache, "."+kept.ID+"-123"), nil)
	if err := f.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.holds(t, kept)
	if diff := cmp.Diff([]string{filepath.Base(boot.Initrd)}, names(t, cache)); diff != "" {
		t.Error(diff)
	}
}

// TestPublishOverCrash has the directory that a crash between rename and record leaves.
func TestPublishOverCrash(t *testing.T) {
	f := newFixture(t)
	k := f.mustImport(t, f.request("mine"))
	if err := f.records.Store.DeleteKernel(t.Context(), k.ID); err != nil {
		t.Fatal(err)
	}
	again := f.mustImport(t, f.request("mine"))
	if again.ID != k.ID {
		t.Errorf("the id was %s and is %s", k.ID, again.ID)
	}
	f.holds(t, again)
}

func TestBoot(t *testing.T) {
	f := newFixture(t)
	k := f.mustImport(t, f.request("mine"))
	first, err := f.Boot(t.Context(), k.ID)
	if err != nil {
		t.Fatal(err)
	}
	if first.Vmlinux != k.Vmlinux.Path || first.Modules != k.Modules.Path || first.Kernel.ID != k.ID {
		t.Errorf("Boot = %+v", first)
	}
	made, err := os.Stat(first.Initrd)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(first.Initrd)
	if err != nil || !bytes.Contains(data, []byte("agent one")) {
		t.Errorf("the agent is not in the initramfs: %v", err)
	}
	again, err := f.Boot(t.Context(), k.ID)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(again.Initrd); err != nil || !os.SameFile(info, made) {
		t.Errorf("the initramfs was made again: %v", err)
	}
	write(t, f.agent, []byte("agent two"))
	other, err := f.Boot(t.Context(), k.ID)
	if err != nil || other.Initrd == first.Initrd {
		t.Errorf("with a new agent, Boot = %s, %v", other.Initrd, err)
	}
	if err := os.Remove(f.agent); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Boot(t.Context(), k.ID); !errors.Is(err, errdefs.ErrUnavailable) || errdefs.Hint(err) == "" {
		t.Errorf("without an agent: %v", err)
	}
	if _, err := f.Boot(t.Context(), "mine"); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("Boot takes ids only: %v", err)
	}
}

// fakeApt makes apt's tools give the fixture's kernel as a package, and count downloads in a file.
func (f *fixture) fakeApt(t *testing.T, download string) (count func() int) {
	t.Helper()
	bin, log := t.TempDir(), filepath.Join(t.TempDir(), "downloads")
	tar := filepath.Join(t.TempDir(), "package")
	tree := filepath.Join(tar, "tree")
	for name, data := range kerneltest.Modules(version) {
		write(t, filepath.Join(tree, "usr/lib/modules", version, name), data)
	}
	write(t, filepath.Join(tree, "boot/vmlinuz-"+version), bzImage(t, version))
	image := "linux-image-" + version
	for name, script := range map[string]string{
		"apt-cache": fmt.Sprintf(`case "$4" in
linux-image-cloud-amd64) printf 'Package: %%s\nVersion: 1\nDepends: %s (= 1)\n' "$4";;
%s) printf 'Package: %%s\nVersion: 1\nSize: 3\nSHA256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n' "$4";;
*) exit 100;;
esac`, image, image),
		"apt-get":  fmt.Sprintf("echo x >> %s\n%s\nprintf abc > p.deb", log, download),
		"dpkg-deb": fmt.Sprintf("tar -C %s -c .", tree),
	} {
		write(t, filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"))
		if err := os.Chmod(filepath.Join(bin, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	return func() int {
		data, err := os.ReadFile(log)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return bytes.Count(data, []byte("\n"))
	}
}

func TestPull(t *testing.T) {
	f := newFixture(t)
	downloads := f.fakeApt(t, "")
	type result struct {
		k   api.Kernel
		err error
	}
	results := make(chan result)
	const pulls = 4
	for range pulls {
		go func() {
			k, err := f.Ensure(t.Context(), "debian-cloud")
			results <- result{k, err}
		}()
	}
	var k api.Kernel
	for range pulls {
		r := <-results
		if r.err != nil {
			t.Error(r.err)
		}
		k = r.k
	}
	f.holds(t, k)
	if n := downloads(); n != 1 {
		t.Errorf("%d downloads", n)
	}
	if k.Version != version || !strings.HasPrefix(k.Source, "apt:linux-image-"+version+"=1 sha256:") {
		t.Errorf("Pull = %+v", k)
	}
	if again, err := f.Pull(t.Context(), api.KernelPull{Name: "debian-cloud", Force: true}); err != nil || again.ID != k.ID || downloads() != 2 {
		t.Errorf("Pull by force = %+v, %v", again, err)
	}
}

func TestPullCancelled(t *testing.T) {
	f := newFixture(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	f.fakeApt(t, "echo > "+fifo+"; sleep 60")
	done := make(chan error, 1)
	go func() {
		_, err := f.Pull(ctx, api.KernelPull{Name: "debian-cloud"})
		done <- err
	}()
	if _, err := os.ReadFile(fifo); err != nil { // waits until the download runs
		t.Fatal(err)
	}
	waiting, leave := context.WithCancel(t.Context())
	leave()
	if _, err := f.Pull(waiting, api.KernelPull{Name: "debian-cloud"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a waiting pull: %v", err)
	}
	reason := errors.New("the user left")
	cancel(reason)
	if err := <-done; !errors.Is(err, reason) {
		t.Errorf("Pull: %v", err)
	}
	f.holds(t)
}

func TestUnknownKernels(t *testing.T) {
	f := newFixture(t)
	if _, err := f.Pull(t.Context(), api.KernelPull{Name: "plan9"}); !errors.Is(err, errdefs.ErrNotFound) || !strings.Contains(errdefs.Hint(err), "debian-cloud") {
		t.Errorf("Pull: %v (hint %q)", err, errdefs.Hint(err))
	}
	if _, err := f.Ensure(t.Context(), "plan9"); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("Ensure: %v", err)
	}
}
