package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/daemon"
	"github.com/banger-dev/banger/internal/guest"
	"github.com/banger-dev/banger/internal/guest/agent"
	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/paths"
	"github.com/banger-dev/banger/internal/shim"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/store"
	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/fake"
)

// The test binary is also banger: the real CLI, daemon and shim, with machines whose guest is the real agent in the
// shim's own process. Commands "in the guest" run on the host.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"banger": func() { os.Exit(run(os.Args[1:], fakeServices())) }})
}

func fakeServices() services {
	return services{
		daemon: func(ctx context.Context, force <-chan struct{}, o daemon.Options) error {
			o.Driver = fake.New(fake.Options{})
			return daemon.Run(ctx, force, o)
		},
		shim: func(ctx context.Context, dir string) error { return shim.Process(ctx, dir, fakeParts()) },
	}
}

func fakeParts() shim.Parts {
	return shim.Parts{
		Driver:  func(control.Spec) (vmm.Driver, error) { return fake.New(fake.Options{Guest: fakeGuest}), nil },
		Connect: func(ctx context.Context, port net.Conn) (shim.Agent, error) { return guest.Connect(ctx, port) },
		Network: func(link net.Conn, _ control.Spec, _ *slog.Logger) (shim.Network, error) { return newSink(link), nil },
		Guest:   func() proto.Network { return proto.Network{} },
	}
}

// sink reads a link away.
type sink struct {
	link net.Conn
	done chan struct{}
}

func newSink(link net.Conn) *sink {
	s := &sink{link, make(chan struct{})}
	go func() {
		defer close(s.done)
		_, _ = io.Copy(io.Discard, link)
	}()
	return s
}

func (s *sink) Done() <-chan struct{} { return s.done }

func (s *sink) Close() error {
	err := s.link.Close()
	<-s.done
	return err
}

// machine is a guest's system that a shutdown ends, unless it is deaf.
type machine struct {
	ended chan vmm.Cause
	deaf  bool
}

func (m machine) Apply(context.Context, proto.Identity) error { return nil }

func (m machine) Shutdown(context.Context, proto.ShutdownRequest) error {
	if !m.deaf {
		select {
		case m.ended <- vmm.CausePoweroff:
		default:
		}
	}
	return nil
}

// fakeGuest behaves as the text of its kernel says.
func fakeGuest(ctx context.Context, h fake.Hardware) vmm.Cause {
	kernel, _ := os.ReadFile(h.Config.Kernel.Vmlinux)
	behaviour := string(kernel)
	fmt.Fprintf(h.Console, "fake kernel: %s\r\n", behaviour)
	switch behaviour {
	case "panic":
		fmt.Fprint(h.Console, "Kernel panic - not syncing: no root\r\n")
		return vmm.CauseReboot
	case "hang":
		<-ctx.Done()
		return vmm.CausePoweroff
	}
	m := machine{ended: make(chan vmm.Cause, 1), deaf: behaviour == "deaf"}
	guest, cancel := context.WithCancel(ctx)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = agent.Serve(guest, h.Agent, agent.Options{Version: "test", System: m})
	}()
	defer func() { cancel(); <-served }()
	select {
	case cause := <-m.ended:
		return cause
	case <-ctx.Done():
		return vmm.CausePoweroff
	}
}

// furnish puts an image "img" and kernels that behave as they are called into a home, and makes them the defaults.
func furnish(home string) error {
	dirs := paths.Dirs{Config: home + "/config", State: home + "/state", Cache: home + "/cache", Runtime: home + "/run"}
	if err := dirs.Make(); err != nil {
		return err
	}
	agent := filepath.Join(home, "agent")
	config := fmt.Sprintf("image = \"img\"\nkernel = \"ok\"\nvcpu = 1\nmemory = \"64M\"\ndisk_size = \"32M\"\noverlay_size = \"32M\"\nagent = %q\n", agent)
	files := map[string]string{agent: "agent", dirs.ConfigFile(): config}
	image := api.Image{
		ID: "aaaaaaaaaaaa", Name: "img", Kind: "managed", Source: "test", CreatedAt: time.Now(),
		Rootfs: api.File{Path: dirs.Images() + "/aaaaaaaaaaaa/rootfs.ext4", Size: int64(len("rootfs"))},
	}
	files[image.Rootfs.Path] = "rootfs"
	var kernels []api.Kernel
	for i, name := range []string{"ok", "panic", "hang", "deaf"} {
		id := strings.Repeat(fmt.Sprint(i+1), 12)
		k := api.Kernel{
			ID: id, Name: name, Arch: "x86_64", Version: "0", CreatedAt: time.Now(),
			Vmlinux: api.File{Path: filepath.Join(dirs.Kernels(), id, "vmlinux")},
		}
		files[k.Vmlinux.Path] = name
		files[filepath.Join(dirs.Kernels(), id, "initramfs-modules.cpio")] = ""
		kernels = append(kernels, k)
	}
	for path, text := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	ctx := context.Background()
	records, err := store.Open(ctx, dirs.Database())
	if err != nil {
		return err
	}
	defer records.Close()
	for _, k := range kernels {
		if err := records.PutKernel(ctx, k); err != nil {
			return err
		}
	}
	return records.PutImage(ctx, image)
}
