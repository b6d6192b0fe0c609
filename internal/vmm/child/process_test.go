package child

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestSpawn(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Setenv("SECRET", "of the parent")
	conn, file, err := Pair("test")
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	p, err := Spawn(Spec{
		Binary: "sh", Args: []string{"-c", `ulimit -c >&3; env >&3; cat /proc/self/stat >&3; echo last words >&2; exit 3`},
		Dir: t.TempDir(), Files: []*os.File{file}, Stderr: &stderr,
	})
	_ = file.Close()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if p.Err() == nil || p.Signal() != 0 || p.Ended().IsZero() || stderr.String() != "last words\n" {
		t.Errorf("ended with %v, signal %d, stderr %q", p.Err(), p.Signal(), stderr.String())
	}
	if strings.Contains(string(text), "SECRET") {
		t.Errorf("the environment got through:\n%s", text)
	}
	if err := p.Kill(); err != nil {
		t.Errorf("kill after the end: %v", err)
	}
}

func TestSpawnIsApart(t *testing.T) {
	defer goleak.VerifyNone(t)
	p, err := Spawn(Spec{Binary: "sleep", Args: []string{"infinity"}})
	if err != nil {
		t.Fatal(err)
	}
	if sid, err := unix.Getsid(p.PID()); err != nil || sid != p.PID() {
		t.Errorf("session %d, %v; want its own, %d", sid, err, p.PID())
	}
	var core unix.Rlimit
	if err := unix.Prlimit(p.PID(), unix.RLIMIT_CORE, nil, &core); err != nil || core != (unix.Rlimit{}) {
		t.Errorf("core limit %+v, %v; want none", core, err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if p.Signal() != unix.SIGKILL {
		t.Errorf("signal %v, want SIGKILL", p.Signal())
	}
}

func TestSpawnFails(t *testing.T) {
	defer goleak.VerifyNone(t)
	if _, err := Spawn(Spec{Binary: "/nowhere/program"}); err == nil {
		t.Error("no error")
	}
}

func TestReadsDrainBeforeTheEnd(t *testing.T) {
	a, b, err := Conns("test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Write([]byte("left over")); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(a)
	if err != nil || string(text) != "left over" {
		t.Errorf("got %q, %v", text, err)
	}
	if err := a.Close(); err == nil {
		t.Error("it has not closed itself")
	}
}
