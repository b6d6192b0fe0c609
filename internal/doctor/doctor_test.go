package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/config"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/paths"
	"github.com/banger-dev/banger/internal/vmm"
)

// driver is a VMM whose description is fixed.
type driver struct {
	capabilities vmm.Capabilities
	err          error
}

func (d driver) Describe(context.Context) (vmm.Capabilities, error) { return d.capabilities, d.err }

// store is a set of records, or an error.
type store struct {
	images  []api.Image
	kernels []api.Kernel
	err     error
}

func (s store) Images(context.Context) ([]api.Image, error)   { return s.images, s.err }
func (s store) Kernels(context.Context) ([]api.Kernel, error) { return s.kernels, s.err }

// healthy is a host on which every check passes. Tests break one thing each.
func healthy(t *testing.T) Options {
	t.Helper()
	root := t.TempDir()
	o := Options{
		Dirs: paths.Dirs{
			Config: filepath.Join(root, "config"), State: filepath.Join(root, "state"),
			Cache: filepath.Join(root, "cache"), Runtime: filepath.Join(root, "xdg", "banger"),
		},
		Config: config.Config{Image: "debian", Kernel: "cloud"},
		Agent:  filepath.Join(root, "banger-agent"),
		Driver: driver{capabilities: vmm.Capabilities{Driver: "qemu", Version: "9.0.0", Accelerator: "kvm", Reason: "it works"}},
		Daemon: func(context.Context) (api.Version, error) {
			return api.Version{Version: "v1", Build: "b1", PID: 7}, nil
		},
		Build: "b1",
		Host: Host{
			LookPath:   func(name string) (string, error) { return "/usr/bin/" + name, nil },
			Namespaces: func(context.Context) error { return nil },
			Free:       func(string) (int64, error) { return 100 << 30, nil },
			Getenv: func(name string) string {
				return map[string]string{"XDG_RUNTIME_DIR": filepath.Join(root, "xdg")}[name]
			},
			UID:        os.Geteuid,
			Cgroups:    filepath.Join(root, "cgroup"),
			SelfCgroup: filepath.Join(root, "self"),
		},
	}
	if err := o.Dirs.Make(); err != nil {
		t.Fatal(err)
	}
	write(t, o.Agent, executable(false), 0o755)
	listen(t, o.Dirs.Socket())
	write(t, filepath.Join(o.Host.Cgroups, "cgroup.controllers"), "cpu memory\n", 0o644)
	write(t, filepath.Join(o.Host.Cgroups, "user", "cgroup.controllers"), "cpu memory\n", 0o644)
	write(t, filepath.Join(o.Host.Cgroups, "user", "cgroup.subtree_control"), "", 0o644)
	write(t, o.Host.SelfCgroup, "4:memory:/legacy\n0::/user\n", 0o644)
	seed := file(t, filepath.Join(root, "seed"), 10)
	o.Records = store{
		images: []api.Image{{
			ID: "i1", Name: "debian", Source: "build:debian-bookworm", Rootfs: file(t, filepath.Join(root, "rootfs"), 20), WorkSeed: &seed,
		}},
		kernels: []api.Kernel{{ID: "k1", Name: "cloud", Version: "6.1", Vmlinux: file(t, filepath.Join(root, "vmlinux"), 30)}},
	}
	return o
}

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func file(t *testing.T, path string, size int) api.File {
	t.Helper()
	write(t, path, strings.Repeat("x", size), 0o600)
	return api.File{Path: path, Size: int64(size), Allocated: 4096}
}

func listen(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

// executable is the smallest executable that can be read as one: a header and one program header.
func executable(dynamic bool) string {
	kind := byte(1) // PT_LOAD
	if dynamic {
		kind = 3 // PT_INTERP
	}
	b := make([]byte, 64+56)
	copy(b, "\x7fELF\x02\x01\x01")
	b[16], b[18], b[20] = 2, 62, 1 // ET_EXEC, x86-64, version
	b[32], b[52], b[54], b[56] = 64, 64, 56, 1
	b[64] = kind
	return string(b)
}

func TestHealthyHost(t *testing.T) {
	var names []string
	for _, c := range Run(t.Context(), healthy(t)) {
		names = append(names, c.Name)
		if c.Status != Pass || c.Reason == "" || c.Remedy != "" {
			t.Errorf("%+v", c)
		}
	}
	want := []string{
		"qemu", "accelerator", "agent", "directory config", "directory state", "directory cache", "directory runtime",
		"disk space", "XDG runtime directory", "daemon", "socket", "store", "default image", "image debian",
		"feature /root work disk", "default kernel", "kernel cloud", "user namespaces", "mmdebstrap", "apt-get",
		"staging", "cgroup delegation",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}

func TestChecks(t *testing.T) {
	hinted := errdefs.WithHint(errors.New("no such thing"), "do this")
	for _, tc := range []struct {
		name   string
		breaks func(t *testing.T, o *Options)
		check  string
		status string
		reason string
		remedy string
	}{
		{
			"no qemu", func(_ *testing.T, o *Options) { o.Driver = driver{err: hinted} },
			"qemu", Fail, "no such thing", "do this",
		},
		{
			"no qemu, no hint", func(_ *testing.T, o *Options) { o.Driver = driver{err: errors.New("boom")} },
			"qemu", Fail, "boom", "install QEMU",
		},
		{"software emulation", func(_ *testing.T, o *Options) {
			o.Driver = driver{capabilities: vmm.Capabilities{Accelerator: "tcg", Reason: "/dev/kvm: permission denied"}}
		}, "accelerator", Warn, "tcg, software emulation: /dev/kvm: permission denied", "none is needed"},

		{"no agent", func(_ *testing.T, o *Options) { _ = os.Remove(o.Agent) }, "agent", Fail, "no such file", "make build"},
		{
			"agent not executable", func(_ *testing.T, o *Options) { _ = os.Chmod(o.Agent, 0o644) },
			"agent", Fail, "not an executable file", "make build",
		},
		{
			"agent is a directory", func(_ *testing.T, o *Options) { o.Agent = o.Dirs.State },
			"agent", Fail, "not an executable file", "make build",
		},
		{
			"agent is a script", func(t *testing.T, o *Options) {
				write(t, o.Agent, "#!/bin/sh\nexit 0\n# longer than the ELF identification\n", 0o755)
			},
			"agent", Fail, "bad magic number", "make build",
		},
		{
			"agent needs libraries", func(t *testing.T, o *Options) { write(t, o.Agent, executable(true), 0o755) },
			"agent", Fail, "shared libraries", "CGO_ENABLED=0",
		},

		{
			"state not made yet", func(_ *testing.T, o *Options) { o.Dirs.State += "/a/b" },
			"directory state", Pass, "will be made", "",
		},
		{
			"state is a file", func(_ *testing.T, o *Options) { o.Dirs.State = o.Agent },
			"directory state", Fail, "not a directory", "move it",
		},
		{
			"state of another user", func(_ *testing.T, o *Options) { o.Host.UID = func() int { return 4242 } },
			"directory state", Fail, "not to uid 4242", "BANGER_HOME",
		},
		{
			"state open to all", func(_ *testing.T, o *Options) { _ = os.Chmod(o.Dirs.State, 0o755) },
			"directory state", Warn, "mode 0755", "chmod 700",
		},
		{
			"config open to all", func(_ *testing.T, o *Options) { _ = os.Chmod(o.Dirs.Config, 0o755) },
			"directory config", Pass, "config", "",
		},
		{
			"state below a file", func(_ *testing.T, o *Options) { o.Dirs.State = o.Agent + "/state" },
			"directory state", Fail, "not a directory", "BANGER_HOME",
		},

		{
			"hardly any space", func(_ *testing.T, o *Options) { o.Host.Free = func(string) (int64, error) { return 1 << 30, nil } },
			"disk space", Fail, "1GiB left", "free some",
		},
		{
			"little space", func(_ *testing.T, o *Options) { o.Host.Free = func(string) (int64, error) { return 5 << 30, nil } },
			"disk space", Warn, "5GiB left", "free some",
		},
		{
			"space not known", func(_ *testing.T, o *Options) {
				o.Host.Free = func(string) (int64, error) { return 0, errors.New("boom") }
			},
			"disk space", Warn, "boom", "",
		},

		{
			"one directory for all", func(_ *testing.T, o *Options) { o.Host.Getenv = func(string) string { return "x" } },
			"XDG runtime directory", Pass, "BANGER_HOME is set", "",
		},
		{
			"no runtime directory", func(_ *testing.T, o *Options) { o.Host.Getenv = func(string) string { return "" } },
			"XDG runtime directory", Pass, "sockets are in", "",
		},
		{"another user's runtime directory", func(_ *testing.T, o *Options) {
			o.Host.Getenv = func(name string) string { return map[string]string{"XDG_RUNTIME_DIR": "/run/user/0"}[name] }
		}, "XDG runtime directory", Warn, "/run/user/0 is not a directory of uid", "log in"},

		{"no daemon", func(_ *testing.T, o *Options) {
			o.Daemon = func(context.Context) (api.Version, error) { return api.Version{}, hinted }
		}, "daemon", Fail, "no such thing", "do this"},
		{
			"daemon of another build", func(_ *testing.T, o *Options) { o.Build = "b2" },
			"daemon", Warn, "process 7 is of another build", "replaces it",
		},
		{
			"socket gone", func(_ *testing.T, o *Options) { _ = os.Remove(o.Dirs.Socket()) },
			"socket", Fail, "is gone", "daemon stop",
		},
		{
			"socket open to all", func(_ *testing.T, o *Options) { _ = os.Chmod(o.Dirs.Socket(), 0o666) },
			"socket", Warn, "mode 0666", "chmod 600",
		},
		{"socket is a file", func(t *testing.T, o *Options) {
			_ = os.Remove(o.Dirs.Socket())
			write(t, o.Dirs.Socket(), "", 0o600)
		}, "socket", Fail, "not a socket", "move it"},

		{
			"store does not open", func(_ *testing.T, o *Options) { o.Records, o.StoreErr = nil, hinted },
			"store", Fail, "no such thing", "do this",
		},
		{
			"store not looked at", func(_ *testing.T, o *Options) { o.Records = nil },
			"store", Warn, "not looked at", "daemon",
		},
		{
			"store cannot be read", func(_ *testing.T, o *Options) { o.Records = store{err: hinted} },
			"store", Fail, "no such thing", "do this",
		},

		{
			"no default image", func(_ *testing.T, o *Options) { o.Config.Image = "other" },
			"default image", Warn, "other has not been made yet", "banger image build other",
		},
		{
			"image's file gone", func(_ *testing.T, o *Options) { _ = os.Remove(o.Records.(store).images[0].Rootfs.Path) },
			"image debian", Fail, "no such file", "image build --force debian-bookworm",
		},
		{
			"image's file cut off", func(_ *testing.T, o *Options) { _ = os.Truncate(o.Records.(store).images[0].Rootfs.Path, 5) },
			"image debian", Fail, "has 5 bytes, the record says 20", "--force",
		},
		{
			"image's seed gone", func(_ *testing.T, o *Options) { _ = os.Remove(o.Records.(store).images[0].WorkSeed.Path) },
			"image debian", Fail, "no such file", "--force",
		},
		{
			"image's file is a directory", func(_ *testing.T, o *Options) { o.Records.(store).images[0].Rootfs.Path = o.Dirs.State },
			"image debian", Fail, "is not a file", "--force",
		},
		{
			"image without a seed", func(_ *testing.T, o *Options) { o.Records.(store).images[0].WorkSeed = nil },
			"feature /root work disk", Warn, "guest /root will be empty: debian", "banger image seed debian",
		},

		{
			"no default kernel", func(_ *testing.T, o *Options) { o.Config.Kernel = "other" },
			"default kernel", Warn, "other has not been fetched yet", "banger kernel pull other",
		},
		{
			"kernel's file gone", func(_ *testing.T, o *Options) { _ = os.Remove(o.Records.(store).kernels[0].Vmlinux.Path) },
			"kernel cloud", Fail, "no such file", "--force",
		},
		{"kernel's modules cut off", func(t *testing.T, o *Options) {
			modules := file(t, filepath.Join(o.Dirs.State, "modules"), 5)
			modules.Size = 6
			o.Records.(store).kernels[0].Modules = &modules
		}, "kernel cloud", Fail, "has 5 bytes, the record says 6", "--force"},

		{
			"no namespaces", func(_ *testing.T, o *Options) { o.Host.Namespaces = func(context.Context) error { return hinted } },
			"user namespaces", Warn, "no such thing", "do this",
		},
		{
			"no mmdebstrap", func(_ *testing.T, o *Options) { o.Host.LookPath = missing("mmdebstrap") },
			"mmdebstrap", Warn, "not found: `image build debian-bookworm` needs it", "install the package mmdebstrap",
		},
		{
			"no apt", func(_ *testing.T, o *Options) { o.Host.LookPath = missing("apt-get") },
			"apt-get", Warn, "not found: `kernel pull`", "install the package apt",
		},

		{"stale staging", func(t *testing.T, o *Options) {
			write(t, filepath.Join(o.Dirs.Staging(), "image-abc", "rootfs.ext4"), "", 0o600)
		}, "staging", Warn, "process that is gone: image-abc", "daemon stop"},
		{
			"staging in use", func(t *testing.T, o *Options) { hold(t, filepath.Join(o.Dirs.Staging(), "image-abc")) },
			"staging", Pass, "1 operation in progress", "",
		},
		{
			"no staging yet", func(_ *testing.T, o *Options) { _ = os.Remove(o.Dirs.Staging()) },
			"staging", Pass, "no operations", "",
		},

		{
			"no unified cgroups", func(_ *testing.T, o *Options) { o.Host.Cgroups += "/none" },
			"cgroup delegation", Warn, "no unified cgroup hierarchy", "systemd",
		},
		{
			"cgroup of none", func(t *testing.T, o *Options) { write(t, o.Host.SelfCgroup, "4:memory:/legacy\n", 0o600) },
			"cgroup delegation", Warn, "names no cgroup", "systemd",
		},
		{"cgroup not the user's", func(_ *testing.T, o *Options) {
			_ = os.Remove(filepath.Join(o.Host.Cgroups, "user", "cgroup.subtree_control"))
		}, "cgroup delegation", Warn, "is not the user's", "systemd"},
		{
			"cgroup file unreadable", func(_ *testing.T, o *Options) { _ = os.Remove(o.Host.SelfCgroup) },
			"cgroup delegation", Warn, "no such file", "systemd",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := healthy(t)
			tc.breaks(t, &o)
			for _, c := range Run(t.Context(), o) {
				if c.Name != tc.check {
					continue
				}
				if c.Status != tc.status || !strings.Contains(c.Reason, tc.reason) || !strings.Contains(c.Remedy, tc.remedy) {
					t.Errorf("got  %s %q, remedy %q\nwant %s %q, remedy %q", c.Status, c.Reason, c.Remedy, tc.status, tc.reason, tc.remedy)
				}
				if c.Status == Pass && c.Remedy != "" {
					t.Errorf("a remedy for what passes: %q", c.Remedy)
				}
				return
			}
			t.Fatalf("no check %q", tc.check)
		})
	}
}

func missing(program string) func(string) (string, error) {
	return func(name string) (string, error) {
		if name == program {
			return "", fmt.Errorf("%s: not found", name)
		}
		return "/usr/bin/" + name, nil
	}
}

// hold makes a staging directory that a process works in.
func hold(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
}

// TestReadsOnly runs every check on nothing at all and looks whether something has come of it.
func TestReadsOnly(t *testing.T) {
	o := healthy(t)
	root := t.TempDir()
	o.Dirs = paths.Dirs{
		Config: filepath.Join(root, "c"), State: filepath.Join(root, "s"), Cache: filepath.Join(root, "k"), Runtime: filepath.Join(root, "r"),
	}
	o.Host = Host{}
	Run(t.Context(), o)
	entries, err := os.ReadDir(root)
	if err != nil || len(entries) != 0 {
		t.Errorf("made %v, %v", entries, err)
	}
}
