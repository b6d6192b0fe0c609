package shim

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/guest"
	"github.com/banger-dev/banger/internal/guest/agent"
	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/unixsock"
	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/fake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a shim that runs in the test's process.
type rig struct {
	t      *testing.T
	dir    control.Dir
	client *control.Client
	cancel context.CancelFunc
	done   chan error
}

// testNet is a fake one that a test can end.
type testNet struct {
	link net.Conn
	done chan struct{}
	once sync.Once
}

func (n *testNet) Done() <-chan struct{} { return n.done }
func (n *testNet) end()                  { n.once.Do(func() { close(n.done) }) }
func (n *testNet) Close() error          { n.end(); return n.link.Close() }

// run starts a shim whose guest is a function.
func run(t *testing.T, g func(context.Context, fake.Hardware) vmm.Cause, change func(*control.Spec, *Parts)) *rig {
	t.Helper()
	r := &rig{t: t, dir: control.Dir(t.TempDir()), done: make(chan error, 1)}
	r.client = control.NewClient(r.dir)
	vmlinux := filepath.Join(string(r.dir), "vmlinux")
	if err := os.WriteFile(vmlinux, []byte("kernel"), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := control.Spec{ID: "id", Name: "box", VCPU: 1, Memory: 64 << 20, Kernel: vmm.Kernel{Vmlinux: vmlinux}, Net: "public"}
	parts := Parts{
		Driver:  func(control.Spec) (vmm.Driver, error) { return fake.New(fake.Options{Guest: g}), nil },
		Connect: func(ctx context.Context, port net.Conn) (Agent, error) { return guest.Connect(ctx, port) },
		Network: func(link net.Conn, _ control.Spec, _ *slog.Logger) (Network, error) {
			return &testNet{link: link, done: make(chan struct{})}, nil
		},
		Guest: func() proto.Network { return proto.Network{} },
	}
	if change != nil {
		change(&spec, &parts)
	}
	if err := control.Write(r.dir.Spec(), spec); err != nil {
		t.Fatal(err)
	}
	l, err := unixsock.Listen(r.dir.Socket())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r.cancel = cancel
	ready := make(chan struct{})
	go func() {
		r.done <- Run(ctx, r.dir, l, parts, slog.New(slog.NewTextHandler(t.Output(), nil)), func() { close(ready) })
	}()
	<-ready
	t.Cleanup(func() {
		_ = r.client.Kill(ctx)
		cancel()
		r.wait()
	})
	return r
}

// wait waits until the shim has returned.
func (r *rig) wait() {
	r.t.Helper()
	select {
	case err := <-r.done:
		r.done <- err
		if err != nil {
			r.t.Errorf("Run = %v", err)
		}
	case <-time.After(20 * time.Second):
		r.t.Fatal("the shim does not end")
	}
}

// exit waits for the end and returns what was recorded.
func (r *rig) exit() control.Exit {
	r.t.Helper()
	r.wait()
	var e control.Exit
	if err := control.Read(r.dir.Exit(), &e); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.client.State(r.t.Context()); !errors.Is(err, control.ErrGone) {
		r.t.Errorf("it is still served: %v", err)
	}
	if _, err := os.Lstat(r.dir.Socket()); !errors.Is(err, os.ErrNotExist) {
		r.t.Errorf("the socket is left: %v", err)
	}
	return e
}

// until waits for a state.
func (r *rig) until(what string, is func(control.State) bool) control.State {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	var found control.State
	err := r.client.Events(ctx, func(s control.State) {
		if is(s) {
			found = s
			cancel()
		}
	})
	if found.Phase == "" {
		r.t.Fatalf("it is never %s: %v", what, err)
	}
	return found
}

func (r *rig) running() control.State {
	r.t.Helper()
	return r.until("running", func(s control.State) bool { return s.Phase == control.Running })
}

// obedient is a guest with an agent that ends when it is asked to.
func obedient(ctx context.Context, h fake.Hardware) vmm.Cause {
	_, _ = io.WriteString(h.Console, "hello\n")
	return serve(ctx, h)
}

func serve(ctx context.Context, h fake.Hardware) vmm.Cause {
	asked := make(chan proto.ShutdownRequest, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { _ = agent.Serve(ctx, h.Agent, agent.Options{System: askable(asked)}) })
	defer cancel()
	select {
	case r := <-asked:
		if r.Reboot {
			return vmm.CauseReboot
		}
	case <-ctx.Done():
	}
	return vmm.CausePoweroff
}

type askable chan proto.ShutdownRequest

func (askable) Apply(context.Context, proto.Identity) error { return nil }
func (a askable) Shutdown(_ context.Context, r proto.ShutdownRequest) error {
	a <- r
	return nil
}

func TestAgentThatRestarts(t *testing.T) {
	restart := make(chan struct{})
	r := run(t, func(ctx context.Context, h fake.Hardware) vmm.Cause {
		first, cancel := context.WithCancel(ctx)
		go func() { <-restart; cancel() }()
		_ = agent.Serve(first, &portSession{Conn: h.Agent}, agent.Options{Version: "first"})
		_ = h.Agent.SetDeadline(time.Time{})
		return serve(ctx, h)
	}, nil)
	if s := r.running(); s.Guest.Version != "first" || !s.Agent {
		t.Errorf("guest: %+v", s.Guest)
	}
	close(restart)
	r.until("served by another agent", func(s control.State) bool { return s.Agent && s.Guest.Version == "" })
	if a, err := r.client.Stop(t.Context(), 10*time.Second); err != nil || a.Escalated {
		t.Errorf("Stop = %+v, %v", a, err)
	}
	if e := r.exit(); e.Reason != "stopped" {
		t.Errorf("exit: %+v", e)
	}
}

// fickle is an agent that is gone as soon as it is set up, or that cannot be.
type fickle struct{ err error }

func (fickle) Transport() http.RoundTripper { return http.DefaultTransport }
func (f fickle) SetIdentity(context.Context, proto.Identity) (proto.Info, error) {
	return proto.Info{}, f.err
}

func (fickle) Shutdown(context.Context, proto.ShutdownRequest) error { return errors.ErrUnsupported }
func (fickle) Close() error                                          { return nil }
func (fickle) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

// A guest whose agent comes again and again without taking its identity does not keep the shim busy.
func TestAgentThatRefusesIsNotAskedWithoutPause(t *testing.T) {
	var asked atomic.Int32
	r := run(t, func(ctx context.Context, _ fake.Hardware) vmm.Cause {
		<-ctx.Done()
		return vmm.CausePoweroff
	}, func(_ *control.Spec, p *Parts) {
		p.Connect = func(context.Context, net.Conn) (Agent, error) {
			if asked.Add(1) == 1 {
				return fickle{}, nil
			}
			return fickle{err: errors.New("no")}, nil
		}
	})
	r.until("refused", func(s control.State) bool { return len(s.Warnings) > 0 })
	time.Sleep(300 * time.Millisecond)
	if n := asked.Load(); n > 10 {
		t.Errorf("it was asked %d times", n)
	}
}

// What a guest says of itself drives no terminal and fills no memory.
func TestGuestThatSaysTooMuch(t *testing.T) {
	r := run(t, func(ctx context.Context, h fake.Hardware) vmm.Cause {
		_ = agent.Serve(ctx, h.Agent, agent.Options{Version: "\x1b[2J\x07evil" + strings.Repeat("x", 100000)})
		return vmm.CausePoweroff
	}, nil)
	version := r.running().Guest.Version
	if len(version) > 1000 || !strings.HasPrefix(version, "evilx") {
		t.Errorf("%d bytes: %.20q", len(version), version)
	}
}

func TestRequestWaitsForASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l link
		got := make(chan Agent, 1)
		go func() {
			a, err := l.wait(t.Context())
			if err != nil {
				t.Error(err)
			}
			got <- a
		}()
		synctest.Wait()
		want := &guest.Client{}
		l.set(want)
		if a := <-got; a != want {
			t.Errorf("wait = %v", a)
		}
		l.set(nil)
		if _, err := l.wait(t.Context()); !errors.Is(err, errdefs.ErrUnavailable) || errdefs.Hint(err) == "" {
			t.Errorf("wait without a session = %v", err)
		}
	})
}

func TestPauseAndStop(t *testing.T) {
	r := run(t, obedient, nil)
	if err := r.client.Resume(t.Context()); !errors.Is(err, errdefs.ErrState) && err != nil {
		t.Errorf("resume before it runs: %v", err)
	}
	r.running()
	for range 2 {
		if err := r.client.Pause(t.Context()); err != nil {
			t.Errorf("Pause = %v", err)
		}
	}
	if s, err := r.client.State(t.Context()); err != nil || s.Phase != control.Paused {
		t.Errorf("state %v, %v", s.Phase, err)
	}
	if a, err := r.client.Stop(t.Context(), 10*time.Second); err != nil || a.Escalated {
		t.Errorf("Stop = %+v, %v", a, err)
	}
	if e := r.exit(); e.Reason != "stopped" {
		t.Errorf("exit: %+v", e)
	}
}

func TestLostNetworkIsAWarning(t *testing.T) {
	var n *testNet
	r := run(t, obedient, func(_ *control.Spec, p *Parts) {
		p.Network = func(link net.Conn, _ control.Spec, _ *slog.Logger) (Network, error) {
			n = &testNet{link: link, done: make(chan struct{})}
			return n, nil
		}
	})
	r.running()
	n.end()
	s := r.until("warning", func(s control.State) bool { return len(s.Warnings) > 0 })
	if s.Phase != control.Running || !strings.Contains(s.Warnings[0], "lost its network") {
		t.Errorf("state: %+v", s)
	}
}

func TestNetworkThatDoesNotStartIsAWarning(t *testing.T) {
	r := run(t, obedient, func(_ *control.Spec, p *Parts) {
		p.Network = func(link net.Conn, _ control.Spec, _ *slog.Logger) (Network, error) {
			return nil, errors.Join(errors.New("no stack"), link.Close())
		}
	})
	if s := r.running(); len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "no stack") {
		t.Errorf("warnings: %q", s.Warnings)
	}
}
