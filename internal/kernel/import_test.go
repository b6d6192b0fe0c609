package kernel_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
)

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
