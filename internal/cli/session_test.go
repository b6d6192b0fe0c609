package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"
)

// newHome makes a furnished home and returns how banger is run in it.
func newHome(t *testing.T) (home string, command func(args ...string) *exec.Cmd) {
	t.Helper()
	home, err := os.MkdirTemp("", "banger-cli-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leave(t, home) })
	if err := furnish(home); err != nil {
		t.Fatal(err)
	}
	return home, func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "banger", args...) // testscript put it into PATH
		cmd.Env = append(os.Environ(), "BANGER_HOME="+home, "TERM=xterm")
		return cmd
	}
}

func must(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%v: %v\n%s", cmd.Args, err, exit.Stderr)
		}
		t.Fatal(err)
	}
	return string(out)
}

// A signal that reaches banger reaches the command in the guest, which decides what becomes of it.
func TestSignalsReachTheCommand(t *testing.T) {
	home, banger := newHome(t)
	must(t, banger("vm", "create", "v"))
	for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2} {
		name := strings.TrimPrefix(unix.SignalName(sig), "SIG")
		t.Run(name, func(t *testing.T) {
			ready := filepath.Join(home, "ready-"+name)
			script := fmt.Sprintf("trap 'echo got %s; exit 7' %s; touch %s; while :; do sleep 0.02; done", name, name, ready)
			cmd := banger("vm", "exec", "v", "--", "sh", "-c", script)
			var out bytes.Buffer
			cmd.Stdout = &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if err := eventually(func() bool { _, err := os.Stat(ready); return err == nil }); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if got := fmt.Sprintf("%d %s", cmd.ProcessState.ExitCode(), out.String()); got != "7 got "+name+"\n" {
				t.Errorf("exit and output %q", got)
			}
		})
	}
}

// Whoever insists is let go, also when the command does not care.
func TestInsistenceEndsTheSession(t *testing.T) {
	home, banger := newHome(t)
	ready := filepath.Join(home, "ready")
	cmd := banger("vm", "run", "--rm", "--", "sh", "-c", "trap '' INT HUP; touch "+ready+"; while :; do sleep 0.02; done")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := eventually(func() bool { _, err := os.Stat(ready); return err == nil }); err != nil {
		t.Fatal(err)
	}
	for range insistence {
		if err := cmd.Process.Signal(unix.SIGINT); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond) // one pending signal is like two
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit %d, want 130", code)
	}
	if left := must(t, banger("vm", "list", "-q")); left != "" {
		t.Errorf("left: %s", left)
	}
}

// With --rm the VM goes even when banger itself is killed.
func TestRemovedWhenKilled(t *testing.T) {
	home, banger := newHome(t)
	ready := filepath.Join(home, "ready")
	cmd := banger("vm", "run", "--rm", "--", "sh", "-c", "touch "+ready+"; sleep 100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := eventually(func() bool { _, err := os.Stat(ready); return err == nil }); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err := eventually(func() bool { return must(t, banger("vm", "list", "-q")) == "" }); err != nil {
		t.Error(err)
	}
}

// screen is what a terminal shows.
type screen struct {
	mu   sync.Mutex
	text strings.Builder
}

func watch(term io.Reader) *screen {
	s := &screen{}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := term.Read(buf)
			s.mu.Lock()
			s.text.Write(buf[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return s
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *screen) await(t *testing.T, text string) {
	t.Helper()
	if err := eventually(func() bool { return strings.Contains(s.String(), text) }); err != nil {
		t.Fatalf("%q: %v\n%s", text, err, s)
	}
}

// In a terminal the guest's terminal rules: sizes and keys are its own, and ours is as before afterwards.
func TestTerminal(t *testing.T) {
	_, banger := newHome(t)
	must(t, banger("vm", "create", "v"))
	cmd := banger("vm", "exec", "-it", "v", "--", "sh", "-c",
		`echo start $(stty size) $TERM; read line; echo "got <$line>"; cat; echo end of input
		trap 'echo now $(stty size)' WINCH; trap 'echo interrupted; exit 9' INT; echo trapping; while :; do sleep 0.02; done`)
	term, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer term.Close()
	defer tty.Close()
	if err := pty.Setsize(term, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	shown := watch(term)
	shown.await(t, "start 24 80 xterm")
	if during, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS); err != nil || during.Lflag&(unix.ECHO|unix.ICANON|unix.ISIG) != 0 {
		t.Errorf("the terminal is not raw: %v", err)
	}
	fmt.Fprint(term, "hello\n")
	shown.await(t, "got <hello>")
	fmt.Fprint(term, "\x04")
	shown.await(t, "end of input")
	shown.await(t, "trapping")
	if err := pty.Setsize(term, &pty.Winsize{Rows: 50, Cols: 132}); err != nil {
		t.Fatal(err)
	}
	shown.await(t, "now 50 132")
	fmt.Fprint(term, "\x03")
	shown.await(t, "interrupted")
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 9 {
		t.Errorf("exit %d, want 9", code)
	}
	after, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal is not as before: %v\n%+v\n%+v", err, before, after)
	}
}

// Progress on a terminal is drawn over and leaves what took its time; -T keeps the terminal away from the command.
func TestNoTerminal(t *testing.T) {
	_, banger := newHome(t)
	must(t, banger("vm", "create", "v"))
	for _, c := range []struct {
		flags []string
		want  string
	}{{[]string{"-T"}, "not a tty"}, {nil, "not a tty"}, {[]string{"-t"}, "/dev/pts/"}} {
		args := append(append([]string{"vm", "exec"}, c.flags...), "v", "--", "tty")
		cmd := banger(args...)
		term, err := pty.Start(cmd)
		if err != nil {
			t.Fatal(err)
		}
		watch(term).await(t, c.want)
		_ = cmd.Wait()
		_ = term.Close()
	}
}

// 32 MiB go in and come out as they were.
func TestBulk(t *testing.T) {
	_, banger := newHome(t)
	data := bytes.Repeat([]byte("0123456789abcde\n"), 2<<20)
	cmd := banger("vm", "run", "-q", "--rm", "--", "cat")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil || !bytes.Equal(out, data) {
		t.Errorf("%d of %d bytes came back: %v", len(out), len(data), err)
	}
}
