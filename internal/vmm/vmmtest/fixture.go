package vmmtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/banger-dev/banger/internal/kernel/bzimage"
	"github.com/banger-dev/banger/internal/vmm"
)

// The environment that tests of real machines read.
const (
	EnvVM      = "BANGER_TEST_VM"      // "1": run them, and fail where something that they need is missing
	EnvVmlinux = "BANGER_TEST_VMLINUX" // an unpacked kernel, and
	EnvInitrd  = "BANGER_TEST_INITRD"  // an initramfs with testguest as its init; both or none
)

// metaPackage depends on the kernel that is fetched when the environment names none.
const metaPackage = "linux-image-cloud-amd64"

// guestModules are what a guest needs to see its devices, of those that its kernel has as modules.
var guestModules = []string{
	"virtio", "virtio_ring", "virtio_mmio", "virtio_blk", "virtio_console", "failover", "net_failover", "virtio_net",
}

// RequireVM skips t unless tests of real machines were asked for.
func RequireVM(t testing.TB) {
	t.Helper()
	if os.Getenv(EnvVM) != "1" {
		t.Skip("set " + EnvVM + "=1 to boot real machines")
	}
}

// Kernel returns a stock kernel and an initramfs whose init is testguest. The kernel is the distribution's, fetched
// once, unless the environment names both.
func Kernel(t testing.TB) vmm.Kernel {
	t.Helper()
	if file := os.Getenv(EnvVmlinux); file != "" {
		return vmm.Kernel{Vmlinux: file, Initrd: os.Getenv(EnvInitrd)}
	}
	vmlinuz, modules := fetchKernel(t)
	dir := t.TempDir()
	vmlinux := filepath.Join(dir, "vmlinux")
	if err := unpack(vmlinux, vmlinuz); err != nil {
		t.Fatalf("unpack %s: %v", vmlinuz, err)
	}
	initrd := filepath.Join(dir, "initrd")
	if err := writeInitrd(initrd, buildInit(t, dir), findModules(t, modules)); err != nil {
		t.Fatalf("write initramfs: %v", err)
	}
	return vmm.Kernel{Vmlinux: vmlinux, Initrd: initrd}
}

// fetchKernel downloads the distribution's kernel package and unpacks it, below the user's cache directory.
func fetchKernel(t testing.TB) (vmlinuz, modules string) {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	name := kernelPackage(t)
	dir := filepath.Join(cache, "banger-vmmtest", name)
	if _, err := os.Stat(dir); err != nil {
		tmp := t.TempDir()
		output(t, tmp, "apt-get", "download", name)
		debs := glob(t, filepath.Join(tmp, "*.deb"))
		tree := filepath.Join(tmp, "tree")
		output(t, tmp, "dpkg-deb", "-x", debs[0], tree)
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		// Another test may have been faster; both trees are the same. A temporary directory elsewhere needs a copy.
		output(t, tmp, "cp", "-a", "--no-clobber", "--no-target-directory", tree, dir)
	}
	return glob(t, filepath.Join(dir, "boot", "vmlinuz-*"))[0], filepath.Join(dir, "lib", "modules")
}

func kernelPackage(t testing.TB) string {
	t.Helper()
	for line := range strings.Lines(output(t, "", "apt-cache", "depends", metaPackage)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: linux-image-"); ok {
			return "linux-image-" + name
		}
	}
	t.Fatalf("%s depends on no kernel", metaPackage)
	return ""
}

func unpack(vmlinux, vmlinuz string) error {
	in, err := os.Open(vmlinuz)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.Create(vmlinux)
	if err != nil {
		return err
	}
	_, err = bzimage.Unpack(out, in, info.Size())
	if closed := out.Close(); err == nil {
		err = closed
	}
	return err
}

func buildInit(t testing.TB, dir string) string {
	t.Helper()
	file := filepath.Join(dir, "init")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", file,
		"github.com/banger-dev/banger/internal/vmm/vmmtest/testguest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build testguest: %v\n%s", err, text)
	}
	return file
}

// findModules leaves out what dir has not: it is built into the kernel.
func findModules(t testing.TB, dir string) []string {
	t.Helper()
	wanted := map[string]bool{}
	for _, name := range guestModules {
		wanted[name+".ko"] = true
	}
	var found []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil && wanted[filepath.Base(path)] {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func glob(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no file matches %s (%v)", pattern, err)
	}
	return files
}

func output(t testing.TB, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return string(text)
}
