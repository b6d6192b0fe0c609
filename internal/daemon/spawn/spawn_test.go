package spawn

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/paths"
	"github.com/banger-dev/banger/internal/unixsock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func starter(t *testing.T, executable string) *Starter {
	t.Helper()
	root := t.TempDir()
	dirs := paths.Dirs{Config: root + "/config", State: root + "/state", Cache: root + "/cache", Runtime: root + "/run"}
	if err := dirs.Make(); err != nil {
		t.Fatal(err)
	}
	return &Starter{Dirs: dirs, Executable: executable, Build: "ours"}
}

// A daemon that ends before it is ready is an error at once that names the log, and so is one that is no program.
func TestDaemonThatDoesNotStart(t *testing.T) {
	for _, executable := range []string{"/bin/true", "/no/such/program"} {
		s := starter(t, executable)
		began := time.Now()
		if conn, err := s.Dial(t.Context()); err == nil {
			conn.Close()
			t.Errorf("%s passes for a daemon", executable)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v to see that %s does not start", took, executable)
		}
	}
}

// A daemon that accepts connections and says nothing does not hold its clients for ever.
func TestSilentDaemon(t *testing.T) {
	s := starter(t, "/bin/true")
	l, err := unixsock.Listen(s.Dirs.Socket())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go hold(l)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	conn, err := s.Dial(ctx)
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, errdefs.ErrTimeout) {
		t.Errorf("%v", err)
	}
}

// hold accepts connections and keeps them until the listener is closed.
func hold(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
	}
}

func TestAbsent(t *testing.T) {
	s := starter(t, "/bin/true")
	if _, err := s.probe(t.Context()); !Absent(err) {
		t.Errorf("%v does not say that nobody listens", err)
	}
}
