package image

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/image/recipe"
)

// realFixture has the recipes that users have.
func realFixture(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	f.recipes = recipe.All(recipe.Options{})
	f.flatten = WriteExt4
	return f
}

// checkDisk fails when e2fsck has a complaint.
func checkDisk(t *testing.T, path string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "e2fsck", "-fn", path).CombinedOutput(); err != nil {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
}

// debug returns what debugfs prints for a command.
func debug(t *testing.T, disk, command string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "debugfs", "-R", command, disk).Output()
	must(t, err)
	return string(out)
}

func TestMinimalImage(t *testing.T) {
	f := realFixture(t)
	i, err := f.Build(t.Context(), api.ImageBuild{Recipe: "minimal"})
	must(t, err)
	checkDisk(t, i.Rootfs.Path)
	checkDisk(t, i.WorkSeed.Path)
	if i.WorkSeed.Size != seedSize || i.WorkSeed.Allocated > 8<<20 {
		t.Errorf("the seed has %d bytes, %d allocated", i.WorkSeed.Size, i.WorkSeed.Allocated)
	}
	out := filepath.Join(t.TempDir(), "busybox")
	debug(t, i.Rootfs.Path, "dump /usr/bin/busybox "+out)
	want, err := os.ReadFile("/bin/busybox")
	must(t, err)
	if got, err := os.ReadFile(out); err != nil || string(got) != string(want) {
		t.Errorf("busybox differs, %v", err)
	}
	for _, c := range []struct{ disk, command, want string }{
		{i.Rootfs.Path, "stat /usr/bin/sh", `Fast link dest: "/usr/bin/busybox"`},
		{i.Rootfs.Path, "cat /etc/passwd", "root:x:0:0:root:/root:/bin/sh"},
		{i.Rootfs.Path, "stat /tmp", "Mode:  01777"},
		{i.Rootfs.Path, "stat /root", "Mode:  0700"},
		{i.WorkSeed.Path, "stat .profile", "Mode:  0644"},
		{i.WorkSeed.Path, "stat /", "Mode:  0700"},
	} {
		if got := debug(t, c.disk, c.command); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.command, got, c.want)
		}
	}
	if got := debug(t, i.Rootfs.Path, "ls -p /root"); strings.Contains(got, ".profile") {
		t.Errorf("/root of the root file system holds %s", got)
	}
	again, err := realFixture(t).Build(t.Context(), api.ImageBuild{Recipe: "minimal"})
	must(t, err)
	if again.ID != i.ID {
		t.Errorf("two builds gave %s and %s", i.ID, again.ID)
	}
}

// needsNetwork skips a test that downloads packages unless the long tests are asked for; then nothing may be missing.
func needsNetwork(t *testing.T) {
	t.Helper()
	if os.Getenv("BANGER_TEST_VM") == "" {
		t.Skip("BANGER_TEST_VM is not set")
	}
}

func TestDebianImage(t *testing.T) {
	needsNetwork(t)
	f := realFixture(t)
	mounts := readMounts(t)
	i, err := f.Build(t.Context(), api.ImageBuild{Recipe: "debian-bookworm"})
	if err != nil {
		t.Fatalf("%v (%s)", err, errdefs.Hint(err))
	}
	checkDisk(t, i.Rootfs.Path)
	checkDisk(t, i.WorkSeed.Path)
	for _, c := range []struct{ disk, command, want string }{
		{i.Rootfs.Path, "cat /usr/lib/os-release", "bookworm"},
		{i.Rootfs.Path, "stat /usr/sbin/init", "systemd"},
		{i.Rootfs.Path, "stat /usr/bin/git", "Mode:  0755"},
		{i.Rootfs.Path, "stat /usr/bin/sudo", "Mode:  04755"},
		{i.Rootfs.Path, "stat /usr/bin/ping", "security.capability"},
		{i.Rootfs.Path, "stat /etc/machine-id", "Size: 0"},
		{i.Rootfs.Path, "ls /usr/lib/systemd/system/multi-user.target.wants", "systemd-user-sessions.service"},
		{i.Rootfs.Path, "cat /etc/shadow", "root:*:"},
		{i.WorkSeed.Path, "cat .bashrc", `PS1='\u@\h:\w\$ '`},
		{i.WorkSeed.Path, "cat .profile", ". ~/.bashrc"},
	} {
		if got := debug(t, c.disk, c.command); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.command, got, c.want)
		}
	}
	if got := debug(t, i.Rootfs.Path, "ls /usr/lib/systemd/system/sysinit.target.wants"); strings.Contains(got, "random-seed") {
		t.Errorf("started with the system are %s", got)
	}
	if got := debug(t, i.Rootfs.Path, "ls /var/lib/apt/lists"); strings.Contains(got, "Packages") {
		t.Errorf("package lists are left: %s", got)
	}
	if after := readMounts(t); after != mounts {
		t.Errorf("mounts were\n%s\nare\n%s", mounts, after)
	}
	f.consistent(t)
}

func readMounts(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mounts")
	must(t, err)
	return string(data)
}

func TestDebianCancelled(t *testing.T) {
	needsNetwork(t)
	f := realFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := f.start(ctx, api.ImageBuild{Recipe: "debian-bookworm"})
	unpacked := func() bool { // the essential packages are being unpacked
		found, err := filepath.Glob(filepath.Join(f.dirs.Staging(), "*", "scratch", "tmp", "mmdebstrap.*", "usr", "share"))
		return err == nil && len(found) > 0
	}
	for tick := time.NewTicker(50 * time.Millisecond); !unpacked(); {
		select {
		case <-tick.C:
		case r := <-done:
			t.Fatalf("the build ended: %v", r.err)
		}
	}
	cancel()
	began := time.Now()
	if err := (<-done).err; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 3*time.Second { // killing takes milliseconds, removing the files is up to the disk
		t.Errorf("it took %v", took)
	}
	if names := f.consistent(t); len(names) > 0 {
		t.Errorf("images %v", names)
	}
	if _, err := os.Stat(f.dirs.Staging()); errors.Is(err, fs.ErrNotExist) {
		t.Error("the staging directory itself is gone")
	}
}
