package userns

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/banger-dev/banger/internal/errdefs"
)

func TestMain(m *testing.M) {
	if os.Getenv("USERNS_TEST_PARENT") != "" {
		c := Command(context.Background(), "sh", "-c", "setsid sleep 1000 & echo ready; sleep 1000")
		c.Stdout = os.Stdout
		panic(c.Run())
	}
	goleak.VerifyTestMain(m)
}

// available skips the test where a container or a user without subordinate ids cannot make namespaces.
func available(t *testing.T) {
	t.Helper()
	if err := Check(t.Context()); err != nil {
		t.Skipf("%v (%s)", err, errdefs.Hint(err))
	}
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	var out strings.Builder
	c := Command(t.Context(), name, args...)
	c.Stdout, c.Stderr = &out, os.Stderr
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}

func TestRunsAsRoot(t *testing.T) {
	available(t)
	if got := output(t, "sh", "-c", `echo "$(id -u) $(id -g) $$ $1"`, "sh", "an 'argument'"); got != "0 0 1 an 'argument'" {
		t.Errorf("got %q", got)
	}
	dir := t.TempDir()
	const script = `cd "$1" && mkdir -m 700 d && touch d/f && chown -R 42:42 d && stat -c %u:%g d/f && mount -t tmpfs x "$1" && touch "$1/inside"`
	if got := output(t, "sh", "-c", script, "sh", dir); got != "42:42" {
		t.Errorf("ownership %q", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "inside")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the mount is seen outside: %v", err)
	}
	if err := RemoveAll(t.Context(), filepath.Join(dir, "d")); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestExitStatus(t *testing.T) {
	available(t)
	var exit *exec.ExitError
	if err := Command(t.Context(), "sh", "-c", "exit 7").Run(); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("got %v", err)
	}
	if err := Command(t.Context(), "/absent").Run(); !errors.As(err, &exit) || exit.ExitCode() != 127 {
		t.Errorf("got %v", err)
	}
}

// readToEnd returns once every process that holds the pipe has ended.
func readToEnd(t *testing.T, r *os.File) {
	t.Helper()
	if err := r.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Error("processes are left:", err)
	}
}

func TestCancelKillsAll(t *testing.T) {
	available(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	c := Command(ctx, "sh", "-c", "setsid sleep 1000 & (trap '' TERM HUP; sleep 1000) & echo ready; sleep 1000")
	c.Stdout = w
	err = c.Start()
	_ = w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(r).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	cancel()
	began := time.Now()
	if err := c.Wait(); err == nil {
		t.Error("it ended by itself")
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	readToEnd(t, r)
}

func TestDiesWithItsParent(t *testing.T) {
	available(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = append(os.Environ(), "USERNS_TEST_PARENT=1")
	parent.Stdout = w
	err = parent.Start()
	_ = w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(r).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // killed
	readToEnd(t, r)
}

func TestParseSubRange(t *testing.T) {
	const file = "# comment\nother:1:65536\nme:100:10\n1000:200000:65535\nme:300000:65536\n:::\nme:x:y\n"
	for _, c := range []struct {
		name, user, uid string
		want            subRange
	}{
		{"by uid", "nobody", "1000", subRange{200000, 65535}},
		{"by name, the first that is large enough", "me", "7", subRange{300000, 65536}},
		{"none", "you", "8", subRange{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseSubRange(strings.NewReader(file), c.user, c.uid)
			if got != c.want || (err == nil) != (c.want != subRange{}) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func FuzzParseSubRange(f *testing.F) {
	f.Add("me:100000:65536\n")
	f.Fuzz(func(t *testing.T, file string) {
		r, err := parseSubRange(strings.NewReader(file), "me", "1000")
		if err == nil && (r.count < ids || r.start > 1<<32) {
			t.Errorf("got %v", r)
		}
	})
}
