package vm

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/config"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/guest/wire"
	"github.com/banger-dev/banger/internal/kernel"
	"github.com/banger-dev/banger/internal/paths"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/store"
	"github.com/banger-dev/banger/internal/vmm/fake"
)

// home is one user's banger, over the lives of several services.
type home struct {
	dirs  paths.Dirs
	image api.Image
}

func newHome(t *testing.T) home {
	t.Helper()
	root := t.TempDir()
	t.Cleanup(func() { endProcesses(root) })
	h := home{dirs: paths.Dirs{
		Config: root + "/config", State: root + "/state", Cache: root + "/cache", Runtime: root + "/run",
	}}
	if err := h.dirs.Make(); err != nil {
		t.Fatal(err)
	}
	records := h.store(t)
	defer records.Close()
	h.image = api.Image{
		ID: "aaaaaaaaaaaa", Name: "img", Kind: "managed",
		Rootfs: api.File{Path: h.dirs.Images() + "/rootfs.ext4"}, Config: api.ImageConfig{Env: []string{"FROM=image"}},
		CreatedAt: time.Now(),
	}
	seed := api.File{Path: h.dirs.Images() + "/seed.ext4", Size: 1 << 20}
	h.image.WorkSeed = &seed
	for _, f := range []string{h.image.Rootfs.Path, seed.Path} {
		writeFile(t, f, strings.Repeat("d", 4096))
	}
	if err := records.PutImage(t.Context(), h.image); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ok", "panic", "hang", "deaf"} {
		file := h.dirs.Kernels() + "/" + name
		writeFile(t, file, name)
		k := api.Kernel{ID: "id-" + name, Name: name, Vmlinux: api.File{Path: file}, CreatedAt: time.Now()}
		if err := records.PutKernel(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (h home) store(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), h.dirs.Database())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// catalog serves the home's images and kernels from its store.
type catalog struct{ records *store.Store }

func (c catalog) Ensure(ctx context.Context, reference, _ string) (api.Image, error) {
	all, err := c.records.Images(ctx)
	for _, i := range all {
		if i.Name == reference || i.ID == reference {
			return i, nil
		}
	}
	return api.Image{}, errors.Join(err, errdefs.New(errdefs.ErrNotFound, "image %q not found", reference))
}

type kernels struct{ records *store.Store }

func (c kernels) Ensure(ctx context.Context, reference string) (api.Kernel, error) {
	all, err := c.records.Kernels(ctx)
	for _, k := range all {
		if k.Name == reference || k.ID == reference {
			return k, nil
		}
	}
	return api.Kernel{}, errors.Join(err, errdefs.New(errdefs.ErrNotFound, "kernel %q not found", reference))
}

func (c kernels) Boot(ctx context.Context, id string) (kernel.Boot, error) {
	k, err := c.Ensure(ctx, id)
	return kernel.Boot{Kernel: k, Vmlinux: k.Vmlinux.Path}, err
}

func (h home) options(records *store.Store) Options {
	return Options{
		Dirs: h.dirs,
		Config: config.Config{
			Image: "img", Kernel: "ok", VCPU: 1, Memory: 64 << 20, DiskSize: 32 << 20, OverlaySize: 32 << 20, Net: "public",
		},
		Records: records, Images: catalog{records}, Kernels: kernels{records}, Driver: fake.New(fake.Options{}),
		Shim: []string{os.Args[0], roleShim},
		Log:  slog.New(slog.DiscardHandler),
	}
}

// service opens and reconciles a service on the home; it is closed with the test at the latest.
func (h home) service(t testing.TB, change ...func(*Options)) (s *Service, end func()) {
	t.Helper()
	records := h.store(t)
	o := h.options(records)
	if testing.Verbose() {
		o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	for _, c := range change {
		c(&o)
	}
	s = New(o)
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		_ = s.Close()
		_ = records.Close()
	}
	t.Cleanup(end)
	if err := s.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, end
}

// clean deletes every VM and checks that nothing is left of any: no record, no file, no process.
func (h home) clean(t testing.TB, s *Service) {
	t.Helper()
	vms, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range vms {
		if err := s.Delete(t.Context(), v.ID, api.DeleteRequest{Force: true}); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	if vms, err = s.List(t.Context()); err != nil || len(vms) != 0 {
		t.Errorf("vms are left: %v, %v", vms, err)
	}
	h.census(t)
}

// endProcesses ends what a failed test has left in its directory.
func endProcesses(root string) {
	for _, p := range (home{dirs: paths.Dirs{State: root}}).processes() {
		if pid, err := strconv.Atoi(strings.Fields(p)[0]); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func (h home) census(t testing.TB) {
	t.Helper()
	entries, err := os.ReadDir(h.dirs.VMs())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("file is left: %s", e.Name())
	}
	for _, p := range h.processes() {
		t.Errorf("process is left: %s", p)
	}
}

// processes returns those that run in the home.
func (h home) processes() (found []string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		cwd, _ := os.Readlink(d + "/cwd")
		cmdline, _ := os.ReadFile(d + "/cmdline")
		if strings.HasPrefix(cwd, h.dirs.State) || strings.Contains(string(cmdline), h.dirs.State) {
			found = append(found, filepath.Base(d)+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	return found
}

// run runs a command in a VM, all the way through the shim.
func execIn(ctx context.Context, s *Service, reference string, req proto.ExecRequest) (string, proto.ExitStatus, error) {
	conn, err := s.DialShim(ctx, reference)
	if err != nil {
		return "", proto.ExitStatus{}, err
	}
	body, _ := json.Marshal(req)
	hr, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://shim"+control.RouteAgent+proto.RouteExec, strings.NewReader(string(body)))
	hr.Header.Set("Connection", "Upgrade")
	hr.Header.Set("Upgrade", proto.UpgradeStream)
	if err := hr.Write(conn); err != nil {
		return "", proto.ExitStatus{}, err
	}
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, hr) //nolint:bodyclose // its connection is closed instead
	if err != nil {
		_ = conn.Close()
		return "", proto.ExitStatus{}, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		defer conn.Close()
		text, _ := io.ReadAll(res.Body)
		return "", proto.ExitStatus{}, fmt.Errorf("%s: %s", res.Status, text)
	}
	var out strings.Builder
	status, err := wire.Client(ctx, struct {
		io.Reader
		io.WriteCloser
	}{r, conn}, wire.Streams{Stdout: &out, Stderr: &out})
	return out.String(), status, err
}

func mustExec(t testing.TB, s *Service, reference string, command ...string) string {
	t.Helper()
	out, status, err := execIn(t.Context(), s, reference, proto.ExecRequest{Command: command})
	if err != nil || status.Code != 0 {
		t.Fatalf("exec %q: %v, %+v, %q", command, err, status, out)
	}
	return out
}

func create(t testing.TB, s *Service, spec api.VMSpec) api.VM {
	t.Helper()
	v, err := s.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func start(t testing.TB, s *Service, reference string) api.VM {
	t.Helper()
	v, err := s.Start(t.Context(), reference)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// awaitEnd waits until the run that is on, if any, has ended.
func awaitEnd(t testing.TB, s *Service, id string) {
	t.Helper()
	r := s.current(id)
	if r == nil {
		return
	}
	select {
	case <-r.gone:
	case <-time.After(20 * time.Second):
		t.Fatal("the run does not end")
	}
}
