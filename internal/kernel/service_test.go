package kernel_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
)

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
