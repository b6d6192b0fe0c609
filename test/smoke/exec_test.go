//go:build smoke

package smoke

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

func commandExitStatus(t *testing.T, b *banger) {
	b.fails(42, nil, "vm", "run", "--rm", "--image", "minimal", "--", "sh", "-c", "exit 42")
	vm := b.vm()
	b.fails(127, []string{"no-such-program"}, "vm", "exec", vm, "--", "no-such-program")
	b.fails(126, []string{"/etc/passwd"}, "vm", "exec", vm, "--", "/etc/passwd")
	b.fails(137, nil, "vm", "exec", vm, "--", "sh", "-c", "kill -KILL $$")
	b.fails(143, nil, "vm", "exec", vm, "--", "sh", "-c", "kill -TERM $$")
	r := b.try("vm", "exec", vm, "--", "sh", "-c", "echo out; echo err >&2")
	if r.stdout != "out\n" || r.stderr != "err\n" {
		t.Errorf("streams are mixed: stdout %q, stderr %q", r.stdout, r.stderr)
	}
	if got := b.ok("vm", "exec", "-e", "A=b c", "-w", "/tmp", vm, "--", "sh", "-c", `echo "$A $PWD"`); got != "b c /tmp" {
		t.Errorf("env and workdir: %q", got)
	}
	b.fails(125, []string{"/no/such"}, "vm", "exec", "-w", "/no/such", vm, "--", "true")
}

func stdinPipe(t *testing.T, b *banger) {
	file := make([]byte, 3<<20+7)
	_, _ = rand.Read(file)
	r := b.tryInput(bytes.NewReader(file), "vm", "run", "--rm", "--image", "minimal", "--", "cat")
	if r.code != 0 || r.stdout != string(file) {
		t.Fatalf("cat gave back %d of %d bytes, exit %d: %s", len(r.stdout), len(file), r.code, r.stderr)
	}
	vm := b.vm()
	big := make([]byte, 100<<20)
	_, _ = rand.Read(big)
	start := time.Now()
	r = b.tryInput(bytes.NewReader(big), "vm", "exec", "-i", vm, "--", "cat")
	if r.code != 0 || r.stdout != string(big) {
		t.Fatalf("cat gave back %d of %d bytes, exit %d: %s", len(r.stdout), len(big), r.code, r.stderr)
	}
	t.Logf("100 MiB through stdin and stdout in %v", time.Since(start).Round(time.Millisecond))
	if r := b.tryInput(strings.NewReader(""), "vm", "exec", "-i", vm, "--", "wc", "-c"); strings.TrimSpace(r.stdout) != "0" {
		t.Errorf("closed stdin: %q", r.stdout)
	}
}

func ttyResize(t *testing.T, b *banger) {
	vm := b.vm()
	cmd := b.command("vm", "exec", "-it", vm, "--", "sh", "-c",
		`trap 'echo now $(stty size)' WINCH; echo start $(stty size); while read line; do echo got "$line"; done; echo end`)
	term, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Fatal(err)
	}
	screen := watch(term)
	screen.await(t, "start 24 80")
	if err := pty.Setsize(term, &pty.Winsize{Rows: 50, Cols: 132}); err != nil {
		t.Fatal(err)
	}
	// The shell runs its trap when read returns, so a line follows the resize.
	fmt.Fprint(term, "x\n")
	screen.await(t, "now 50 132")
	fmt.Fprint(term, "\x04") // Ctrl-D
	screen.await(t, "end")
	if err := cmd.Wait(); err != nil {
		t.Errorf("exec -it: %v", err)
	}
}

func signalReachesProcess(t *testing.T, b *banger) {
	vm := b.vm()
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		code   int
	}{{"INT", syscall.SIGINT, 7}, {"TERM", syscall.SIGTERM, 7}, {"HUP", syscall.SIGHUP, 7}} {
		cmd := b.command("vm", "exec", vm, "--", "sh", "-c", "trap 'exit 7' "+c.name+"; echo ready; while :; do sleep 1; done")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		watch(out).await(t, "ready")
		if err := cmd.Process.Signal(c.signal); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != c.code {
			t.Errorf("%s: exit %d, want %d", c.name, code, c.code)
		}
	}
	// Ctrl-C in a terminal is a byte; the guest's terminal makes the signal.
	cmd := b.command("vm", "exec", "-it", vm, "--", "sh", "-c", "trap 'exit 9' INT; echo ready; while :; do sleep 1; done")
	term, err := pty.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	screen := watch(term)
	screen.await(t, "ready")
	fmt.Fprint(term, "\x03")
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 9 {
		t.Errorf("Ctrl-C in a terminal: exit %d, want 9", code)
	}
}

func backgroundChild(t *testing.T, b *banger) {
	vm := b.vm()
	start := time.Now()
	if out := b.ok("vm", "exec", vm, "--", "sh", "-c", "sleep 300 & echo started"); out != "started" {
		t.Errorf("output %q", out)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("a background child held the exit for %v", took)
	}
}

func concurrentExec(t *testing.T, b *banger) {
	vm := b.vm()
	const n = 200
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if r := b.try("vm", "exec", vm, "--", "echo", fmt.Sprint(i)); r.code != 0 || r.stdout != fmt.Sprintln(i) {
				t.Errorf("exec %d: exit %d, %q, %s", i, r.code, r.stdout, r.stderr)
			}
		})
	}
	wg.Wait()
}

// bareRun is a shell in a fresh VM, as a person would use it.
func bareRun(t *testing.T, b *banger) {
	cmd := b.command("vm", "run", "--rm", "--name", "bare", "--image", "minimal")
	term, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 30, Cols: 100})
	if err != nil {
		t.Fatal(err)
	}
	screen := watch(term)
	screen.await(t, "# ")
	fmt.Fprint(term, "echo $((6*7)) $(hostname) $(tty)\n")
	screen.await(t, "42 bare /dev/pts/")
	fmt.Fprint(term, "sleep 100\n")
	time.Sleep(300 * time.Millisecond) // let it start: what is tested is that Ctrl-C ends it and the shell goes on
	fmt.Fprint(term, "\x03")
	fmt.Fprint(term, "exit 3\n")
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 3 && code != 130 {
		t.Errorf("shell: exit %d, want 3\n%s", code, screen.text())
	}

	// Without --rm the VM is kept, and the user is told how to stop it.
	cmd = b.command("vm", "run", "--name", "kept", "--image", "minimal")
	if term, err = pty.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.try("vm", "delete", "-f", "kept") })
	screen = watch(term)
	screen.await(t, "# ")
	fmt.Fprint(term, "exit\n")
	screen.await(t, "banger vm stop kept")
	if err := cmd.Wait(); err != nil {
		t.Errorf("run: %v", err)
	}
	if state := b.show("kept").State; state != "running" {
		t.Errorf("kept VM is %s", state)
	}
}

// watch collects what a stream says so that a scenario can wait for a text.
func watch(r interface{ Read([]byte) (int, error) }) *transcript {
	s := &transcript{changed: make(chan struct{}, 1)}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := r.Read(buf)
			s.mu.Lock()
			s.data = append(s.data, buf[:n]...)
			s.ended = err != nil
			s.mu.Unlock()
			select {
			case s.changed <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	return s
}

type transcript struct {
	mu      sync.Mutex
	data    []byte
	ended   bool
	changed chan struct{}
}

func (s *transcript) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.data)
}

// await waits for text, at most two minutes.
func (s *transcript) await(t *testing.T, text string) {
	t.Helper()
	timeout := time.After(2 * time.Minute)
	for {
		s.mu.Lock()
		found, ended := bytes.Contains(s.data, []byte(text)), s.ended
		s.mu.Unlock()
		if found {
			return
		}
		if ended {
			t.Fatalf("the stream ended without %q:\n%s", text, s.text())
		}
		select {
		case <-s.changed:
		case <-timeout:
			t.Fatalf("no %q in two minutes:\n%s", text, s.text())
		}
	}
}
