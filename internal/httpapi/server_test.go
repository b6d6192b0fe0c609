package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/op"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stub is every service. What a test does not set fails.
type stub struct {
	list    func() ([]api.VM, error)
	create  func(context.Context, api.VMSpec) (api.VM, error)
	stop    func(api.StopRequest) (api.StopResult, error)
	console func(ctx context.Context, follow bool, tail int, w io.Writer) error
	dial    func() (net.Conn, error)
	left    bool
}

type stubVMs struct{ *stub }

func (s stubVMs) List(context.Context) ([]api.VM, error) { return s.list() }
func (s stubVMs) Get(_ context.Context, ref string) (api.VM, error) {
	return api.VM{}, errdefs.WithHint(errdefs.New(errdefs.ErrNotFound, "vm %q not found", ref), "look again")
}

func (s stubVMs) Create(ctx context.Context, spec api.VMSpec) (api.VM, error) {
	return s.create(ctx, spec)
}

func (s stubVMs) Start(_ context.Context, ref string) (api.VM, error) { return api.VM{Name: ref}, nil }

func (s stubVMs) Stop(_ context.Context, _ string, req api.StopRequest) (api.StopResult, error) {
	return s.stop(req)
}

func (s stubVMs) Restart(_ context.Context, ref string, _ api.StopRequest) (api.VM, error) {
	return api.VM{Name: ref}, nil
}

func (s stubVMs) Kill(_ context.Context, ref string) (api.VM, error) { return api.VM{Name: ref}, nil }

func (s stubVMs) Delete(_ context.Context, ref string, req api.DeleteRequest) error {
	if !req.Force {
		return errdefs.New(errdefs.ErrState, "delete vm %s: it is running", ref)
	}
	return nil
}

func (s stubVMs) Console(ctx context.Context, _ string, follow bool, tail int, w io.Writer) error {
	return s.console(ctx, follow, tail, w)
}
func (s stubVMs) DialShim(context.Context, string) (net.Conn, error) { return s.dial() }

type stubImages struct{}

func (stubImages) List(context.Context) ([]api.Image, error) { return nil, nil }
func (stubImages) Get(_ context.Context, ref string) (api.Image, error) {
	return api.Image{Name: ref}, nil
}

func (stubImages) Build(_ context.Context, req api.ImageBuild) (api.Image, error) {
	return api.Image{Name: req.Recipe}, nil
}

func (stubImages) Pull(_ context.Context, req api.ImagePull) (api.Image, error) {
	return api.Image{Name: req.Name, Source: req.Reference}, nil
}

func (stubImages) Register(_ context.Context, req api.ImageRegister) (api.Image, error) {
	return api.Image{Name: req.Name}, nil
}

func (stubImages) Promote(_ context.Context, ref string) (api.Image, error) {
	return api.Image{Name: ref}, nil
}

func (stubImages) Verify(_ context.Context, ref string) (api.Image, error) {
	return api.Image{Name: ref}, nil
}

func (stubImages) Tag(_ context.Context, ref string, req api.ImageTag) (api.Image, error) {
	return api.Image{Name: req.Name, Source: ref}, nil
}

func (stubImages) Seed(_ context.Context, ref string, _ api.ImageSeed) (api.Image, error) {
	return api.Image{Name: ref}, nil
}

func (stubImages) Import(_ context.Context, req api.ImageImport, archive io.Reader) (api.Image, error) {
	n, err := io.Copy(io.Discard, archive)
	return api.Image{Name: req.Name, Rootfs: api.File{Size: n}}, err
}

func (stubImages) Export(_ context.Context, ref string, req api.ImageExport) (api.ImageExported, error) {
	return api.ImageExported{File: req.File, Digest: ref}, nil
}
func (stubImages) CacheUsage(context.Context) (api.Usage, error) { return api.Usage{Blobs: 1}, nil }
func (stubImages) CachePrune(_ context.Context, keep bool) (api.Pruned, error) {
	if keep {
		return api.Pruned{}, nil
	}
	return api.Pruned{Freed: 7}, nil
}

func (stubImages) Delete(_ context.Context, ref string) (api.Image, error) {
	return api.Image{}, errdefs.New(errdefs.ErrInUse, "delete image %s: vm web uses it", ref)
}

type stubKernels struct{}

func (stubKernels) List(context.Context) ([]api.Kernel, error) { return nil, nil }
func (stubKernels) Get(_ context.Context, ref string) (api.Kernel, error) {
	return api.Kernel{Name: ref}, nil
}

func (stubKernels) Available(context.Context) ([]api.KernelOffer, error) { return nil, nil }
func (stubKernels) Pull(_ context.Context, req api.KernelPull) (api.Kernel, error) {
	return api.Kernel{Name: req.Name}, nil
}

func (stubKernels) Import(_ context.Context, req api.KernelImport) (api.Kernel, error) {
	return api.Kernel{Name: req.Name}, nil
}

func (stubKernels) Remove(_ context.Context, ref string) (api.Kernel, error) {
	return api.Kernel{Name: ref}, nil
}

type stubDaemon struct{ *stub }

func (stubDaemon) Version() api.Version               { return api.Version{Version: "test", Build: "b"} }
func (d stubDaemon) Shutdown()                        { d.left = true }
func (stubDaemon) Doctor(context.Context) []api.Check { return nil }

// serve runs a server on the stub and returns a client of it.
func serve(t *testing.T, s *stub) (*api.Client, *httptest.Server) {
	t.Helper()
	handler := New(Services{VMs: stubVMs{s}, Images: stubImages{}, Kernels: stubKernels{}, Daemon: stubDaemon{s}},
		slog.New(slog.DiscardHandler))
	server := httptest.NewServer(handler)
	client := api.NewWithDialer(func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", server.Listener.Addr().String())
	})
	t.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, server
}

// Every route is called through the typed client, so that routes, parameters and bodies agree.
func TestRoutes(t *testing.T) {
	s := &stub{
		list:   func() ([]api.VM, error) { return nil, nil },
		create: func(_ context.Context, spec api.VMSpec) (api.VM, error) { return api.VM{Name: spec.Name}, nil },
		stop: func(req api.StopRequest) (api.StopResult, error) {
			return api.StopResult{Escalated: req.TimeoutMS == 5}, nil
		},
	}
	c, _ := serve(t, s)
	ctx := t.Context()
	const ref = "a b/ü?" // must survive the path
	for _, call := range []struct {
		name string
		do   func() (any, error)
		want any
	}{
		{"version", func() (any, error) { return c.Version(ctx) }, api.Version{Version: "test", Build: "b"}},
		{"doctor", func() (any, error) { return c.Doctor(ctx) }, []api.Check{}},
		{"vms", func() (any, error) { return c.VMs(ctx) }, []api.VM{}},
		{"create", func() (any, error) { return c.CreateVM(ctx, api.VMSpec{Name: "x"}, nil) }, api.VM{Name: "x"}},
		{"start", func() (any, error) { return c.StartVM(ctx, ref, nil) }, api.VM{Name: ref}},
		{"stop", func() (any, error) { return c.StopVM(ctx, ref, api.StopRequest{TimeoutMS: 5}, nil) }, api.StopResult{Escalated: true}},
		{"restart", func() (any, error) { return c.RestartVM(ctx, ref, api.StopRequest{}, nil) }, api.VM{Name: ref}},
		{"kill", func() (any, error) { return c.KillVM(ctx, ref) }, api.VM{Name: ref}},
		{"delete", func() (any, error) { return nil, c.DeleteVM(ctx, ref, api.DeleteRequest{Force: true}, nil) }, nil},
		{"images", func() (any, error) { return c.Images(ctx) }, []api.Image{}},
		{"image", func() (any, error) { return c.Image(ctx, ref) }, api.Image{Name: ref}},
		{"build", func() (any, error) { return c.BuildImage(ctx, api.ImageBuild{Recipe: "r"}, nil) }, api.Image{Name: "r"}},
		{"kernels", func() (any, error) { return c.Kernels(ctx) }, []api.Kernel{}},
		{"kernel", func() (any, error) { return c.Kernel(ctx, ref) }, api.Kernel{Name: ref}},
		{"pull", func() (any, error) { return c.PullKernel(ctx, api.KernelPull{Name: "k"}, nil) }, api.Kernel{Name: "k"}},
		{"import", func() (any, error) { return c.ImportKernel(ctx, api.KernelImport{Name: "k"}, nil) }, api.Kernel{Name: "k"}},
		{"remove", func() (any, error) { return c.RemoveKernel(ctx, ref) }, api.Kernel{Name: ref}},
		{"shutdown", func() (any, error) { return c.Shutdown(ctx) }, api.Version{Version: "test", Build: "b"}},
	} {
		t.Run(call.name, func(t *testing.T) {
			got, err := call.do()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(call.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if !s.left {
		t.Error("shutdown did not reach the daemon")
	}
}

// What a service says of an error arrives: its class, text and remedy.
func TestErrors(t *testing.T) {
	s := &stub{}
	c, _ := serve(t, s)
	for _, test := range []struct {
		name   string
		err    error
		code   api.Code
		status int
		is     error
	}{
		{"invalid", errdefs.New(errdefs.ErrInvalid, "x"), api.CodeInvalid, 400, errdefs.ErrInvalid},
		{"wrapped", fmt.Errorf("around: %w", errdefs.New(errdefs.ErrExists, "x")), api.CodeExists, 409, errdefs.ErrExists},
		{"exhausted", errdefs.New(errdefs.ErrExhausted, "x"), api.CodeExhausted, 507, errdefs.ErrExhausted},
		{"full disk", fmt.Errorf("write: %w", syscall.ENOSPC), api.CodeExhausted, 507, errdefs.ErrExhausted},
		{"deadline", context.DeadlineExceeded, api.CodeTimeout, 504, errdefs.ErrTimeout},
		{"remote", fmt.Errorf("boot: %w", &api.Error{Code: api.CodeUnavailable, Status: 503, Detail: "lost"}), api.CodeUnavailable, 503, errdefs.ErrUnavailable},
		{"fault", errors.New("oops"), api.CodeInternal, 500, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.list = func() ([]api.VM, error) { return nil, errdefs.WithHint(test.err, "do this") }
			_, err := c.VMs(t.Context())
			var got *api.Error
			if !errors.As(err, &got) {
				t.Fatalf("%T: %v", err, err)
			}
			want := &api.Error{Status: test.status, Title: string(test.code), Code: test.code, Detail: test.err.Error(), Hint: "do this"}
			got.Title = want.Title // of a remote error, the remote's
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("%v is not %v", err, test.is)
			}
		})
	}
}

// What the framework finds has the same form.
func TestFrameworkErrors(t *testing.T) {
	_, server := serve(t, &stub{})
	for _, test := range []struct {
		name, method, path, body string
		status                   int
		text                     string
	}{
		{"no route", "GET", "/v1/nothing", "", 404, "no such route"},
		{"wrong method", "PATCH", "/v1/vms", "", 404, "no such route"},
		{"not json", "POST", "/v1/vms", "{", 400, "unexpected end"},
		{"unknown field", "POST", "/v1/vms", `{"colour":"blue"}`, 400, "colour"},
		{"out of range", "POST", "/v1/vms", `{"vcpu":1000}`, 400, "vcpu: expected number <= 256"},
		{"not in enum", "POST", "/v1/vms", `{"net":"everything"}`, 400, "net: expected"},
		{"unknown parameter", "DELETE", "/v1/vms/x?quickly=true", "", 400, "quickly"},
		{"too large", "POST", "/v1/vms", `{"name":"` + strings.Repeat("x", maxBody) + `"}`, 413, "too large"},
		{"no upgrade", "POST", "/v1/vms/x/exec", `{"command":["true"]}`, 426, "Upgrade"},
		{"no operation", "DELETE", "/v1/operations/x", "", 404, "not running"},
	} {
		t.Run(test.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), test.method, server.URL+test.path, strings.NewReader(test.body))
			if err != nil {
				t.Fatal(err)
			}
			res, err := server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			var got api.Error
			if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
				t.Fatal(err)
			}
			if ct := res.Header.Get("Content-Type"); res.StatusCode != test.status || got.Status != test.status || ct != "application/problem+json" {
				t.Errorf("%s, %s, %+v", res.Status, ct, got)
			}
			if !strings.Contains(strings.ToLower(got.Detail), strings.ToLower(test.text)) || got.Code == "" {
				t.Errorf("%+v lacks %q", got, test.text)
			}
		})
	}
}

// Progress, warnings and the result come in order, each with the operation's id.
func TestOperationEvents(t *testing.T) {
	c, _ := serve(t, &stub{create: func(ctx context.Context, spec api.VMSpec) (api.VM, error) {
		stage := op.Begin(ctx, "disks", "web")
		stage.Total(10)
		stage.Add(5)
		op.Warn(ctx, "careful")
		return api.VM{Name: spec.Name}, stage.End(nil)
	}})
	var events []api.Event
	vm, err := c.CreateVM(t.Context(), api.VMSpec{Name: "web"}, func(e api.Event) { events = append(events, e) })
	if err != nil || vm.Name != "web" {
		t.Fatalf("%+v, %v", vm, err)
	}
	id := events[0].Operation
	for i := range events {
		if events[i].Operation != id || id == "" {
			t.Errorf("operation id %q, %q", events[i].Operation, id)
		}
		events[i].Operation, events[i].ElapsedMS = "", 0
		if events[i].StageMS > 0 {
			events[i].StageMS = 1
		}
	}
	want := []api.Event{
		{Stage: "disks", Detail: "web"},
		{Stage: "disks", Detail: "web", Current: 5, Total: 10},
		{Warning: "careful"},
		{Stage: "disks", Detail: "web", Current: 5, Total: 10, StageMS: 1},
	}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Error(diff)
	}
}

// A client that gives up waits until the operation has undone what it did.
func TestOperationIsCancelled(t *testing.T) {
	started, undone := make(chan struct{}), false
	c, _ := serve(t, &stub{create: func(ctx context.Context, _ api.VMSpec) (api.VM, error) {
		close(started)
		<-ctx.Done()
		time.Sleep(20 * time.Millisecond) // undoing takes a while
		undone = true
		return api.VM{}, ctx.Err()
	}})
	cause := errors.New("the user pressed Ctrl-C")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-started
		cancel(cause)
	}()
	if _, err := c.CreateVM(ctx, api.VMSpec{}, nil); !errors.Is(err, cause) {
		t.Errorf("%v, want the cause", err)
	}
	if !undone {
		t.Error("the client did not wait")
	}
}

// A client that is killed ends its operation too.
func TestOperationEndsWithItsClient(t *testing.T) {
	ended := make(chan struct{})
	started := make(chan struct{})
	_, server := serve(t, &stub{create: func(ctx context.Context, _ api.VMSpec) (api.VM, error) {
		defer close(ended)
		close(started)
		<-ctx.Done()
		return api.VM{}, ctx.Err()
	}})
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "POST /v1/vms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
	<-started
	conn.Close()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the operation goes on")
	}
}

func TestConsole(t *testing.T) {
	s := &stub{}
	c, _ := serve(t, s)
	t.Run("follow", func(t *testing.T) {
		s.console = func(_ context.Context, follow bool, tail int, w io.Writer) error {
			_, err := fmt.Fprintf(w, "%v %d", follow, tail)
			return err
		}
		var out strings.Builder
		if err := c.Console(t.Context(), "web", true, 7, &out); err != nil || out.String() != "true 7" {
			t.Errorf("%q, %v", out.String(), err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		s.console = func(context.Context, bool, int, io.Writer) error { return errdefs.New(errdefs.ErrNotFound, "gone") }
		if err := c.Console(t.Context(), "web", false, -1, io.Discard); !errors.Is(err, errdefs.ErrNotFound) {
			t.Error(err)
		}
	})
	t.Run("broken off", func(t *testing.T) {
		s.console = func(_ context.Context, _ bool, _ int, w io.Writer) error {
			_, _ = io.WriteString(w, "half")
			return errors.New("disk on fire")
		}
		if err := c.Console(t.Context(), "web", false, -1, io.Discard); err == nil {
			t.Error("a console that was broken off passes for a whole one")
		}
	})
}

// Operations that are cancelled by the daemon tell their clients why.
func TestCancelOperations(t *testing.T) {
	started := make(chan struct{})
	c, server := serve(t, &stub{create: func(ctx context.Context, _ api.VMSpec) (api.VM, error) {
		close(started)
		<-ctx.Done()
		return api.VM{}, fmt.Errorf("half-way: %w", ctx.Err())
	}})
	go func() {
		<-started
		server.Config.Handler.(*Server).CancelOperations(errdefs.New(errdefs.ErrUnavailable, "the daemon was stopped"))
	}()
	_, err := c.CreateVM(t.Context(), api.VMSpec{}, nil)
	if !errors.Is(err, errdefs.ErrUnavailable) || err.Error() != "the daemon was stopped" {
		t.Errorf("%v", err)
	}
}
