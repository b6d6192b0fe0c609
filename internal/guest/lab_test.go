package guest_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/ext4"
	"github.com/banger-dev/banger/internal/guest"
	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/image/flatten"
	"github.com/banger-dev/banger/internal/kernel"
	"github.com/banger-dev/banger/internal/paths"
	"github.com/banger-dev/banger/internal/store"
	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/qemu"
)

// bootLimit is generous: the machine may be slow, emulated and shared.
const bootLimit = 2 * time.Minute

// lab is what machines are made from: a stock kernel, the agent of this source tree.
type lab struct {
	cache string
	boot  kernel.Boot
}

var (
	labOnce sync.Once
	labMade lab
	labErr  error
)

// theLab makes the lab, once. Kernels and images of distributions are kept in the user's cache.
func theLab(t *testing.T) lab {
	t.Helper()
	if os.Getenv("BANGER_TEST_VM") != "1" {
		t.Skip("set BANGER_TEST_VM=1 to boot real machines")
	}
	labOnce.Do(func() { labMade, labErr = makeLab() })
	if labErr != nil {
		t.Fatal(labErr)
	}
	return labMade
}

func makeLab() (lab, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return lab{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	l := lab{cache: filepath.Join(cache, "banger-guesttest")}
	agent := filepath.Join(l.cache, "banger-agent")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", agent,
		"github.com/banger-dev/banger/cmd/banger-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return l, fmt.Errorf("build agent: %w: %s", err, out)
	}
	dirs := paths.Dirs{Config: l.cache + "/config", State: l.cache + "/state", Cache: l.cache + "/cache", Runtime: l.cache + "/run"}
	if err := dirs.Make(); err != nil {
		return l, err
	}
	records, err := store.Open(ctx, dirs.Database())
	if err != nil {
		return l, err
	}
	defer records.Close()
	kernels := kernel.New(kernel.Options{Dirs: dirs, Records: records, AgentPath: agent})
	k, err := kernels.Get(ctx, "debian-cloud")
	if err != nil {
		if k, err = kernels.Pull(ctx, api.KernelPull{Name: "debian-cloud"}); err != nil {
			return l, err
		}
	}
	l.boot, err = kernels.Boot(ctx, k.ID)
	return l, err
}

// disks are one machine's disks. They outlive its runs.
type disks struct{ rootfs, overlay, work string }

// makeDisks makes the disks of a machine with the image in archive, an uncompressed tar.
func makeDisks(t *testing.T, archive io.Reader) disks {
	t.Helper()
	dir := t.TempDir()
	d := disks{rootfs: dir + "/rootfs.ext4", overlay: dir + "/overlay.ext4", work: dir + "/root.ext4"}
	create := func(path string, fill func(f *os.File) error) {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := fill(f); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	create(d.rootfs, func(f *os.File) error {
		_, err := flatten.Tar(context.Background(), archive, f, nil, flatten.Options{})
		return err
	})
	create(d.overlay, func(f *os.File) error { return ext4.Format(f, ext4.Options{Size: 4 << 30, Journal: true}) })
	create(d.work, func(f *os.File) error {
		if err := ext4.Format(f, ext4.Options{Size: 256 << 20, Journal: true}); err != nil {
			return err
		}
		return f.Truncate(workSize) // for the agent to grow into
	})
	return d
}

const workSize = 16 << 30

// machine is one run.
type machine struct {
	*guest.Client
	vmm.Machine
	console  *syncBuffer
	Answered time.Duration // from the VMM's start to the agent's answer
}

// start boots a machine and waits for its agent.
func start(t *testing.T, l lab, d disks, cmdline string) *machine {
	t.Helper()
	began := time.Now()
	m, console := boot(t, l, d, cmdline)
	c, err := guest.Connect(timeout(t, bootLimit), keepOpen{m.Agent()})
	if err != nil {
		t.Fatalf("%v, exit %+v", err, m.Exit())
	}
	t.Cleanup(func() { c.Close() })
	return &machine{Client: c, Machine: m, console: console, Answered: time.Since(began)}
}

// boot starts a VMM, collects the console and ends all that with the test.
func boot(t *testing.T, l lab, d disks, cmdline string) (vmm.Machine, *syncBuffer) {
	t.Helper()
	ctx := timeout(t, bootLimit)
	driver := qemu.New(qemu.Options{Accelerator: "tcg", CacheDir: l.cache})
	m, err := driver.Prepare(ctx, vmm.Config{
		ID: "guesttest", Dir: t.TempDir(), VCPU: 2, Memory: 512 << 20, Network: true, MAC: "52:54:00:12:34:56",
		Kernel: vmm.Kernel{Vmlinux: l.boot.Vmlinux, Initrd: l.boot.Initrd, Cmdline: cmdline},
		Disks: []vmm.Disk{
			{Path: d.rootfs, Serial: proto.SerialRootfs, ReadOnly: true},
			{Path: d.overlay, Serial: proto.SerialOverlay, ReadOnly: d.overlay == d.rootfs},
			{Path: d.work, Serial: proto.SerialWork},
			{Path: l.boot.Modules, Serial: proto.SerialModules, ReadOnly: true},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(ctx); err != nil {
		t.Fatal(err)
	}
	console := &syncBuffer{}
	var drained sync.WaitGroup
	drained.Go(func() { _, _ = io.Copy(console, m.Console()) })
	drained.Go(func() { _, _ = io.Copy(io.Discard, m.Network()) })
	t.Cleanup(func() {
		if err := m.Kill(); err != nil {
			t.Error(err)
		}
		<-m.Done()
		drained.Wait()
		if t.Failed() || testing.Verbose() {
			t.Logf("console:\n%s", console)
		}
	})
	return m, console
}

// identify gives the machine an identity as a shim does.
func (m *machine) identify(t *testing.T) proto.Info {
	t.Helper()
	info, err := m.SetIdentity(timeout(t, time.Minute), proto.Identity{
		Hostname: "lab-vm", Time: time.Now(), Entropy: []byte(strings.Repeat("seed", 16)), WorkDisk: true,
		Network: &proto.Network{
			Addresses: []string{"10.0.2.15/24", "fd62:616e:6765::15/64"}, Gateways: []string{"10.0.2.2", "fd62:616e:6765::2"},
			Nameservers: []string{"10.0.2.3"}, MTU: 1400,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// end shuts the machine down and waits for it.
func (m *machine) end(t *testing.T, r proto.ShutdownRequest, want vmm.Cause) {
	t.Helper()
	began := time.Now()
	if err := m.Shutdown(timeout(t, time.Minute), r); err != nil {
		t.Fatal(err)
	}
	select {
	case <-m.Machine.Done():
	case <-time.After(90 * time.Second):
		t.Fatal("the machine does not end")
	}
	t.Logf("ended after %v", time.Since(began).Round(time.Millisecond))
	if got := m.Exit(); got.Cause != want {
		t.Errorf("exit %+v, want %s", got, want)
	}
}

// out runs a shell command that must succeed and returns its output without the last newline.
func (m *machine) out(t *testing.T, script string) string {
	t.Helper()
	r := run(t, m.Client, sh(script), nil)
	if r.Status.Code != 0 {
		t.Errorf("%s: %+v", script, r)
	}
	return strings.TrimSuffix(r.Out, "\n")
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// file is an entry of an image made by hand: a directory when it has neither content nor a link.
type file struct {
	name, link string
	content    []byte
	mode       int64
}

func archive(t *testing.T, files ...file) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), Linkname: f.link, Typeflag: tar.TypeReg}
		switch {
		case f.link != "":
			h.Typeflag = tar.TypeSymlink
		case f.content == nil:
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// keepOpen is a line that outlives its sessions, as a shim needs it.
type keepOpen struct{ net.Conn }

func (k keepOpen) Close() error { return k.SetDeadline(time.Unix(1, 0)) }
