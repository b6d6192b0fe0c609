package unixsock

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/banger-dev/banger/internal/errdefs"
)

func TestMain(m *testing.M) {
	if path := os.Getenv("UNIXSOCK_TEST_DIAL"); path != "" {
		os.Exit(dialAsChild(path))
	}
	goleak.VerifyTestMain(m)
}

// dialAsChild exits with 0 when the server greets, with 3 when it hangs up.
func dialAsChild(path string) int {
	c, err := Dial(context.Background(), path)
	if err != nil {
		return 4
	}
	if greeting, err := io.ReadAll(c); err != nil || string(greeting) != "hello" {
		return 3
	}
	return 0
}

func long(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "s.sock")
}

func listenAndGreet(t *testing.T, path string) net.Listener {
	t.Helper()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello")
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	return l
}

func TestListenAndDial(t *testing.T) {
	for name, path := range map[string]string{
		"short path": filepath.Join(t.TempDir(), "s"),
		"long path":  long(t),
	} {
		t.Run(name, func(t *testing.T) {
			l := listenAndGreet(t, path)
			if got := l.Addr().String(); got != path {
				t.Errorf("address %q, want %q", got, path)
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode() != os.ModeSocket|0o600 {
				t.Errorf("mode %v, want a socket of 0600", info.Mode())
			}
			c, err := Dial(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if pid, uid, err := Peer(c); err != nil || pid != os.Getpid() || uid != os.Geteuid() {
				t.Errorf("peer is pid %d, uid %d, %v", pid, uid, err)
			}
			if got, err := io.ReadAll(c); err != nil || string(got) != "hello" {
				t.Errorf("read %q, %v", got, err)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket is still there: %v", err)
			}
		})
	}
}

func TestListenRefusesALiveSocket(t *testing.T) {
	path := long(t)
	listenAndGreet(t, path)
	if _, err := Listen(path); !errors.Is(err, errdefs.ErrInUse) {
		t.Errorf("got %v, want in use", err)
	}
}

func TestListenRefusesAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path); !errors.Is(err, errdefs.ErrExists) {
		t.Errorf("got %v, want exists", err)
	}
	if got, err := os.ReadFile(path); string(got) != "mine" {
		t.Errorf("the file is now %q, %v", got, err)
	}
}

// leaveDead leaves a socket at path that nobody listens on, as a killed process does.
func leaveDead(t *testing.T, path string) {
	t.Helper()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	inner := l.(*listener)
	if err := errors.Join(inner.UnixListener.Close(), inner.dir.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestListenReplacesADeadSocket(t *testing.T) {
	path := long(t)
	leaveDead(t, path)
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			l, err := Listen(path)
			if err == nil {
				won.Add(1)
				t.Cleanup(func() { _ = l.Close() })
			} else if !errors.Is(err, errdefs.ErrInUse) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d callers listen, want 1", won.Load())
	}
}

func TestCloseLeavesASuccessorAlone(t *testing.T) {
	path := long(t)
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	listenAndGreet(t, path)
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the successor's socket is gone: %v", err)
	}
}

func TestDialErrors(t *testing.T) {
	dead := long(t)
	leaveDead(t, dead)
	for name, c := range map[string]struct {
		path string
		want error
	}{
		"no directory": {"/absent/s", os.ErrNotExist},
		"no socket":    {filepath.Join(t.TempDir(), "s"), os.ErrNotExist},
		"dead socket":  {dead, syscall.ECONNREFUSED},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Dial(t.Context(), c.path); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestAcceptRefusesOtherUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run a process of another user")
	}
	dir, err := os.MkdirTemp("", "unixsock") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	listenAndGreet(t, path)
	for name, p := range map[string]string{"directory": dir, "socket": path} {
		if err := os.Chmod(p, 0o777); err != nil {
			t.Fatal(name, err)
		}
	}
	self := filepath.Join(dir, "self")
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(self, data, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		uid  uint32
		want int
	}{{"root", 0, 0}, {"another", 12345, 3}} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), self)
			cmd.Env = []string{"UNIXSOCK_TEST_DIAL=" + path}
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: c.uid, Gid: c.uid}}
			_ = cmd.Run() // its exit status says how it went
			if got := cmd.ProcessState.ExitCode(); got != c.want {
				t.Errorf("exit status %d, want %d", got, c.want)
			}
		})
	}
}
