package kernel_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/kernel"
	"github.com/banger-dev/banger/internal/kernel/initramfs"
)

// TestBootsPulledKernel pulls the distribution's kernel and boots it with a process of ours that loads the modules.
func TestBootsPulledKernel(t *testing.T) {
	if os.Getenv("BANGER_TEST_VM") == "" {
		t.Skip("BANGER_TEST_VM is not set")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	f := newFixture(t)
	s := kernel.New(kernel.Options{Dirs: f.dirs, Records: f.records, AgentPath: buildInit(t)})
	k, err := s.Pull(ctx, api.KernelPull{Name: "debian-cloud"})
	if err != nil {
		t.Fatal(err)
	}
	boot, err := s.Boot(ctx, k.ID)
	if err != nil {
		t.Fatal(err)
	}
	console := run(ctx, t, boot)
	if !strings.Contains(console, "ALL LOADED") || strings.Contains(console, "FAILED") {
		t.Fatalf("the modules did not load:\n%s", console)
	}
	if !strings.Contains(console, "KERNEL "+k.Version) {
		t.Errorf("the guest is not %s:\n%s", k.Version, console)
	}
	if !strings.Contains(console, "MODPROBE INDEX") {
		t.Errorf("the disk of modules was not mounted:\n%s", console)
	}
}

// run boots and returns what the console said.
func run(ctx context.Context, t *testing.T, boot kernel.Boot) string {
	t.Helper()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", "-machine", "microvm,acpi=on", "-accel", "tcg", "-cpu", "max",
		"-m", "512", "-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-serial", "stdio",
		"-kernel", boot.Vmlinux, "-initrd", boot.Initrd,
		"-drive", "if=none,id=m,format=raw,read-only=on,file="+boot.Modules, "-device", "virtio-blk-device,drive=m",
		"-append", "console=ttyS0 panic=-1 "+calibration(t))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("qemu: %v\n%s", err, out.String())
	}
	return out.String()
}

// calibration tells the kernel its clock, which it cannot always measure under emulation.
func calibration(t *testing.T) string {
	t.Helper()
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(info), "cpu MHz\t\t: ")
	var mhz float64
	if _, err := fmt.Sscan(rest, &mhz); err != nil {
		t.Fatal(err)
	}
	khz := int(mhz * 1000)
	return fmt.Sprintf("tsc_early_khz=%d lpj=%d", khz, khz*1000/250)
}

// buildInit compiles testdata/init, a guest's first process.
func buildInit(t *testing.T) string {
	t.Helper()
	target := filepath.Join(t.TempDir(), "init")
	cmd := exec.Command("go", "build", "-ldflags", "-s -w -X main.list="+initramfs.ModuleList, "-o", target, "./testdata/init")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return target
}
