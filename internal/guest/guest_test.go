package guest_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/guest"
	"github.com/banger-dev/banger/internal/guest/agent"
	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/guest/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// socketpair returns the two ends of a line, as a VMM's agent port would be.
func socketpair(t *testing.T) (host, end net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "line")
		if conns[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
		t.Cleanup(func() { conns[i].Close() })
	}
	return conns[0], conns[1]
}

// connect starts a real agent on this host and returns a client of it.
func connect(t *testing.T, o agent.Options) *guest.Client {
	t.Helper()
	host, end := socketpair(t)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- agent.Serve(ctx, end, o) }()
	c, err := guest.Connect(timeout(t, 10*time.Second), host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		cancel()
		select {
		case <-served:
		case <-time.After(20 * time.Second):
			t.Error("the agent did not end with its session")
		}
	})
	return c
}

func timeout(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

type result struct {
	Status proto.ExitStatus
	Out    string
	Err    string
}

func run(t *testing.T, c *guest.Client, req proto.ExecRequest, stdin io.Reader) result {
	t.Helper()
	var out, errOut bytes.Buffer
	req.Stdin = stdin != nil
	s, err := c.Exec(timeout(t, 2*time.Minute), req, wire.Streams{Stdin: stdin, Stdout: &out, Stderr: &errOut})
	if err != nil {
		t.Fatalf("exec %q: %v", req.Command, err)
	}
	s.PID = 0
	return result{s, out.String(), errOut.String()}
}

func sh(script string) proto.ExecRequest {
	return proto.ExecRequest{Command: []string{"sh", "-c", script}}
}

func TestExec(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := write("plain", "no program", 0o644)
	garbage := write("garbage", "\x00\x01\x02", 0o755)
	orphan := write("orphan", "#!/no/such/interpreter\n", 0o755)
	c := connect(t, agent.Options{})
	with := func(r proto.ExecRequest, f func(*proto.ExecRequest)) proto.ExecRequest { f(&r); return r }
	exit := func(code int) proto.ExitStatus { return proto.ExitStatus{Code: code} }
	failed := func(code int, why string) proto.ExitStatus { return proto.ExitStatus{Code: code, Error: why} }

	for _, tc := range []struct {
		name  string
		req   proto.ExecRequest
		stdin io.Reader
		want  result
	}{
		{name: "streams apart", req: sh("echo out; echo err >&2"), want: result{Out: "out\n", Err: "err\n"}},
		{name: "exit status", req: sh("exit 42"), want: result{Status: exit(42)}},
		{name: "killed by a signal", req: sh("kill -KILL $$"), want: result{Status: proto.ExitStatus{Code: 137, Signal: "KILL"}}},
		{name: "stdin and its end", req: sh("cat; echo end"), stdin: strings.NewReader("hello "), want: result{Out: "hello end\n"}},
		{name: "no stdin is empty", req: sh("cat"), want: result{}},
		{name: "argv without a shell", req: proto.ExecRequest{Command: []string{"printf", "%s|", "a b", "$HOME", ""}}, want: result{Out: "a b|$HOME||"}},
		{name: "workdir", req: with(sh("pwd"), func(r *proto.ExecRequest) { r.Workdir = dir }), want: result{Out: dir + "\n"}},
		{name: "no workdir", req: with(sh("pwd"), func(r *proto.ExecRequest) { r.Workdir = dir + "/no" }), want: result{Status: failed(125, "working directory "+dir+"/no: no such file or directory")}},
		{name: "workdir is a file", req: with(sh("pwd"), func(r *proto.ExecRequest) { r.Workdir = plain }), want: result{Status: failed(125, "working directory "+plain+": not a directory")}},
		{name: "environment", req: with(sh(`echo "$A-$HOME"`), func(r *proto.ExecRequest) { r.Env = []string{"A=1=2", "HOME=/h"} }), want: result{Out: "1=2-/h\n"}},
		{name: "unknown user", req: with(sh("id"), func(r *proto.ExecRequest) { r.User = "nosuch" }), want: result{Status: failed(125, `look up user "nosuch": no such name in the guest`)}},
		{name: "not found", req: proto.ExecRequest{Command: []string{"nosuchprogram"}}, want: result{Status: failed(127, "nosuchprogram: executable file not found in PATH")}},
		{name: "no such file", req: proto.ExecRequest{Command: []string{"/no/such"}}, want: result{Status: failed(127, "/no/such: no such file")}},
		{name: "empty name", req: proto.ExecRequest{Command: []string{""}}, want: result{Status: failed(127, ": executable file not found in PATH")}},
		{name: "PATH of the request", req: proto.ExecRequest{Command: []string{"plain"}, Env: []string{"PATH=/no:" + dir}}, want: result{Status: failed(126, plain+": permission denied")}},
		{name: "directory", req: proto.ExecRequest{Command: []string{dir}}, want: result{Status: failed(126, dir+": is a directory")}},
		{name: "not a program", req: proto.ExecRequest{Command: []string{garbage}}, want: result{Status: failed(126, garbage+": exec format error")}},
		{name: "interpreter missing", req: proto.ExecRequest{Command: []string{orphan}}, want: result{Status: failed(126, orphan+": its interpreter or loader is missing")}},
		{name: "relative to the workdir", req: proto.ExecRequest{Command: []string{"./orphan"}, Workdir: dir}, want: result{Status: failed(126, orphan+": its interpreter or loader is missing")}},
		{name: "background child keeps the pipes", req: sh("sleep 3 & echo started"), want: result{Out: "started\n"}},
		{name: "background child writes forever", req: sh("(trap '' PIPE; timeout 2 yes >/dev/null) & echo x"), want: result{Out: "x\n"}},
		{name: "terminal", req: with(sh("tty >/dev/null && stty size; echo err >&2"), func(r *proto.ExecRequest) { r.TTY, r.Rows, r.Cols = true, 33, 99 }), want: result{Out: "33 99\r\nerr\r\n"}},
		{name: "terminal is the controlling one", req: with(sh("echo hi >/dev/tty; echo $TERM"), func(r *proto.ExecRequest) { r.TTY = true }), want: result{Out: "hi\r\nxterm\r\n"}},
		{name: "terminal's input ends", req: with(sh("stty -echo; cat; echo end"), func(r *proto.ExecRequest) { r.TTY = true }), stdin: &late{text: "line\n"}, want: result{Out: "line\r\nend\r\n"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			start := time.Now()
			if diff := cmp.Diff(tc.want, run(t, c, tc.req, tc.stdin)); diff != "" {
				t.Error(diff)
			}
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
}

// late is input that comes when the command has had time to set its terminal up.
type late struct {
	text string
	once sync.Once
}

func (l *late) Read(p []byte) (int, error) {
	l.once.Do(func() { time.Sleep(200 * time.Millisecond) })
	n := copy(p, l.text)
	if l.text = l.text[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// pattern is n bytes that repeat after a prime number of them.
type pattern struct{ at, n int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.at == p.n {
		return 0, io.EOF
	}
	i := 0
	for ; i < len(b) && p.at < p.n; i++ {
		b[i] = byte(p.at % 251)
		p.at++
	}
	return i, nil
}

// check is a writer that wants what pattern gives.
type checker struct {
	at  int64
	bad bool
}

func (c *checker) Write(b []byte) (int, error) {
	for _, x := range b {
		if x != byte(c.at%251) {
			c.bad = true
		}
		c.at++
	}
	return len(b), nil
}

func TestExecCarriesMuchData(t *testing.T) {
	const n = 100 << 20
	c := connect(t, agent.Options{})
	var got checker
	s, err := c.Exec(timeout(t, time.Minute), proto.ExecRequest{Command: []string{"cat"}, Stdin: true},
		wire.Streams{Stdin: &pattern{n: n}, Stdout: &got})
	if err != nil || s.Code != 0 || got.at != n || got.bad {
		t.Errorf("status %+v, error %v, %d bytes, intact %v", s, err, got.at, !got.bad)
	}
}

func TestExecInParallel(t *testing.T) {
	c := connect(t, agent.Options{})
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if got := run(t, c, proto.ExecRequest{Command: []string{"cat"}}, strings.NewReader("hello")); got.Out != "hello" {
				t.Errorf("got %+v", got)
			}
		})
	}
	wg.Wait()
}

func TestSignals(t *testing.T) {
	c := connect(t, agent.Options{})
	signals := make(chan string)
	started := make(chan struct{})
	var once sync.Once
	go func() {
		<-started
		signals <- "NOSUCH"
		signals <- "USR1"
	}()
	// Input that nobody takes must not keep the signal from arriving.
	s, err := c.Exec(timeout(t, 20*time.Second), proto.ExecRequest{
		Command: []string{"sh", "-c", "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done"}, Stdin: true,
	}, wire.Streams{
		Stdin:   &pattern{n: 10 << 20},
		Signals: signals,
		Stdout:  writerFunc(func(p []byte) (int, error) { once.Do(func() { close(started) }); return len(p), nil }),
	})
	if err != nil || s.Code != 7 {
		t.Errorf("status %+v, error %v", s, err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestResize(t *testing.T) {
	c := connect(t, agent.Options{})
	sizes := make(chan wire.Size, 1)
	var out bytes.Buffer
	s, err := c.Exec(timeout(t, 20*time.Second), proto.ExecRequest{
		Command: []string{"sh", "-c", "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done"}, TTY: true,
	}, wire.Streams{Resize: sizes, Stdout: writerFunc(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("ready")) {
			sizes <- wire.Size{Rows: 11, Cols: 22}
		}
		return out.Write(p)
	})})
	if err != nil || s.Code != 0 || out.String() != "ready\r\n11 22\r\n" {
		t.Errorf("status %+v, error %v, output %q", s, err, out.String())
	}
}

// TestClientGone checks that what a client leaves behind ends, whether it minds SIGHUP or not.
func TestClientGone(t *testing.T) {
	for _, tc := range []struct {
		name   string
		script string
		tty    bool
		limit  time.Duration
	}{
		{name: "ends on SIGHUP", script: "echo $$; exec sleep 100", limit: 4 * time.Second},
		{name: "terminal", script: "echo $$; exec sleep 100", tty: true, limit: 4 * time.Second},
		{name: "ignores SIGHUP", script: "trap '' HUP; echo $$; sleep 100; sleep 100", limit: 9 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, agent.Options{})
			ctx, cancel := context.WithCancel(timeout(t, 20*time.Second))
			var out bytes.Buffer
			_, err := c.Exec(ctx, proto.ExecRequest{Command: []string{"sh", "-c", tc.script}, TTY: tc.tty},
				wire.Streams{Stdout: writerFunc(func(p []byte) (int, error) {
					cancel()
					return out.Write(p)
				})})
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("error %v", err)
			}
			proc := "/proc/" + strings.TrimSpace(out.String())
			for deadline := time.Now().Add(tc.limit); ; time.Sleep(20 * time.Millisecond) {
				if _, err := os.Stat(proc); errors.Is(err, os.ErrNotExist) {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("%s is still there", proc)
				}
			}
		})
	}
}

func TestDetach(t *testing.T) {
	console := filepath.Join(t.TempDir(), "console")
	if err := unix.Mkfifo(console, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(console, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := connect(t, agent.Options{Console: console})
	req := sh("echo out; echo err >&2")
	req.Detach = true
	s, err := c.Exec(timeout(t, 10*time.Second), req, wire.Streams{})
	if err != nil || s.Code != 0 || s.PID == 0 {
		t.Fatalf("status %+v, error %v", s, err)
	}
	buf := make([]byte, len("out\nerr\n"))
	if _, err := io.ReadFull(r, buf); err != nil || string(buf) != "out\nerr\n" {
		t.Errorf("console has %q, error %v", buf, err)
	}
}

func TestOutputRefused(t *testing.T) {
	c := connect(t, agent.Options{})
	full := errors.New("full")
	_, err := c.Exec(timeout(t, 20*time.Second), proto.ExecRequest{Command: []string{"yes"}},
		wire.Streams{Stdout: writerFunc(func([]byte) (int, error) { return 0, full })})
	if !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
}

func TestBadRequests(t *testing.T) {
	c := connect(t, agent.Options{})
	for _, tc := range []struct {
		name string
		req  proto.ExecRequest
	}{
		{name: "empty command"},
		{name: "NUL in an argument", req: proto.ExecRequest{Command: []string{"a\x00b"}}},
		{name: "environment without a name", req: proto.ExecRequest{Command: []string{"a"}, Env: []string{"=x"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := c.Exec(timeout(t, 10*time.Second), tc.req, wire.Streams{})
			if !errors.Is(err, errdefs.ErrInvalid) {
				t.Errorf("error %v", err)
			}
		})
	}
}

type fakeSystem struct {
	applied  []proto.Identity
	err      error
	shutdown chan proto.ShutdownRequest
}

func (f *fakeSystem) Apply(_ context.Context, id proto.Identity) error {
	f.applied = append(f.applied, id)
	return f.err
}

func (f *fakeSystem) Shutdown(_ context.Context, r proto.ShutdownRequest) error {
	f.shutdown <- r
	return nil
}

func TestIdentity(t *testing.T) {
	sys := &fakeSystem{shutdown: make(chan proto.ShutdownRequest, 1)}
	dir := t.TempDir()
	o := agent.Options{Version: "v1", Init: "systemd", System: sys, State: filepath.Join(dir, "state")}
	c := connect(t, o)
	ctx := timeout(t, 10*time.Second)
	before, err := c.Info(ctx)
	if err != nil || before.Configured || before.Version != "v1" || before.Init != "systemd" || before.BootID == "" || before.UptimeMS <= 0 {
		t.Errorf("before: %+v, error %v", before, err)
	}
	id := proto.Identity{Hostname: "one", Entropy: []byte("secret"), Env: []string{"A=machine", "B=machine"}, Workdir: dir}
	after, err := c.SetIdentity(ctx, id)
	if err != nil || !after.Configured {
		t.Errorf("after: %+v, error %v", after, err)
	}
	if diff := cmp.Diff([]proto.Identity{id}, sys.applied); diff != "" {
		t.Error(diff)
	}

	req := sh(`echo $A $B; pwd`)
	req.Env = []string{"A=exec"}
	want := result{Out: "exec machine\n" + dir + "\n"}
	if diff := cmp.Diff(want, run(t, c, req, nil)); diff != "" {
		t.Error(diff)
	}
	// An agent that is started again in the same machine knows who it is.
	if diff := cmp.Diff(want, run(t, connect(t, o), req, nil)); diff != "" {
		t.Error(diff)
	}
	if b, err := os.ReadFile(o.State); err != nil || bytes.Contains(b, []byte("Entropy\":\"")) {
		t.Errorf("state %s, error %v", b, err)
	}

	if err := c.Shutdown(ctx, proto.ShutdownRequest{Reboot: true}); err != nil {
		t.Fatal(err)
	}
	if got := <-sys.shutdown; !got.Reboot {
		t.Errorf("got %+v", got)
	}
	sys.err = errors.New("no such device")
	if _, err := c.SetIdentity(ctx, id); err == nil || !strings.Contains(err.Error(), "no such device") {
		t.Errorf("error %v", err)
	}
}

func TestShutdownWithoutSystemEndsTheSession(t *testing.T) {
	c := connect(t, agent.Options{})
	if err := c.Sync(timeout(t, 20*time.Second)); err != nil {
		t.Error(err)
	}
	if err := c.Shutdown(timeout(t, 10*time.Second), proto.ShutdownRequest{}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the session goes on")
	}
	if _, err := c.Info(timeout(t, time.Second)); !errors.Is(err, errdefs.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}

// TestSessionLost checks that a host sees the end of an agent at once, also in the middle of a command.
func TestSessionLost(t *testing.T) {
	host, end := socketpair(t)
	ctx, kill := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- agent.Serve(ctx, end, agent.Options{}) }()
	c, err := guest.Connect(timeout(t, 10*time.Second), host)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Exec(timeout(t, 10*time.Second), sh("echo x; sleep 100"),
		wire.Streams{Stdout: writerFunc(func(p []byte) (int, error) { kill(); return len(p), nil })})
	if !errors.Is(err, wire.ErrNoExit) {
		t.Errorf("error %v", err)
	}
	<-c.Done()
	if err := <-served; !errors.Is(err, context.Canceled) {
		t.Errorf("agent: %v", err)
	}
}
