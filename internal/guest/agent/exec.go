package agent

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/guest/wire"
)

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + proto.UpgradeStream + "\r\n\r\n"

// postExec answers 101 whenever the request makes sense; that the command cannot be started is an exit status.
func (a *Agent) postExec(w http.ResponseWriter, r *http.Request) {
	var req proto.ExecRequest
	err := decode(w, r, &req)
	if err == nil {
		err = check(r, req)
	}
	if err != nil {
		a.fail(w, http.StatusBadRequest, err)
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		a.fail(w, http.StatusInternalServerError, fmt.Errorf("take over the connection: %w", err))
		return
	}
	a.execs.Add(1)
	defer a.execs.Done()
	defer conn.Close()
	if _, err := io.WriteString(conn, switching); err != nil {
		return
	}
	a.exec(req, rw.Reader, conn)
}

func check(r *http.Request, req proto.ExecRequest) error {
	if r.Header.Get("Upgrade") != proto.UpgradeStream {
		return fmt.Errorf("exec: the Upgrade header must be %s", proto.UpgradeStream)
	}
	if len(req.Command) == 0 {
		return errors.New("exec: the command is empty")
	}
	for _, s := range append(append(req.Command[:len(req.Command):len(req.Command)], req.Env...), req.Workdir) {
		if strings.ContainsRune(s, 0) {
			return errors.New("exec: an argument contains a NUL byte")
		}
	}
	for _, kv := range req.Env {
		if strings.IndexByte(kv, '=') < 1 {
			return fmt.Errorf("exec: environment entry %q is not KEY=VALUE", kv)
		}
	}
	return nil
}

// exec runs one command with a client at the other end of the stream.
func (a *Agent) exec(req proto.ExecRequest, r *bufio.Reader, conn io.WriteCloser) {
	w := wire.NewWriter(conn)
	p, err := a.start(req)
	if err != nil {
		a.exit(w, status(err))
		return
	}
	if req.Detach {
		go p.wait()
		a.exit(w, proto.ExitStatus{PID: p.cmd.Process.Pid})
		return
	}
	a.attend(p, r, w, conn)
}

func (a *Agent) exit(w *wire.Writer, s proto.ExitStatus) {
	a.log.Debug("command ended", "status", s)
	if err := w.Exit(s); err != nil {
		a.log.Debug("client is gone", "error", err)
	}
}

// attend moves bytes between p and its client until p has exited and what it wrote and its exit are sent. It closes conn,
// as soon as the client is gone.
func (a *Agent) attend(p *process, r *bufio.Reader, w *wire.Writer, conn io.Closer) {
	var work sync.WaitGroup
	in := newInput(p.stdin, p.tty != nil, w)
	if p.stdin != nil {
		work.Go(in.pump)
	}
	var outputs sync.WaitGroup
	outs := []*output{{file: p.stdout, kind: wire.Stdout}, {file: p.stderr, kind: wire.Stderr}}
	for _, o := range outs {
		if o.file != nil {
			outputs.Go(func() { o.pump(w) })
		}
	}
	gone := make(chan struct{})
	work.Go(func() {
		defer close(gone)
		a.obey(p, in, wire.NewReader(r))
		conn.Close()
	})
	exited := make(chan proto.ExitStatus, 1)
	work.Go(func() { exited <- p.wait() })

	var s proto.ExitStatus
	select {
	case s = <-exited:
	case <-gone:
		s = hangUp(p, exited)
	}
	for _, o := range outs {
		o.finish()
	}
	outputs.Wait()
	a.exit(w, s)
	p.close()
	in.close()
	conn.Close() // ends obey
	work.Wait()
}

// hangUp does to a process what the end of its terminal would, and more when it does not care.
func hangUp(p *process, exited <-chan proto.ExitStatus) proto.ExitStatus {
	p.signal(unix.SIGHUP)
	p.signal(unix.SIGCONT)
	p.close()
	grace := time.NewTimer(hangupGrace)
	defer grace.Stop()
	select {
	case s := <-exited:
		return s
	case <-grace.C:
		p.signal(unix.SIGKILL)
		return <-exited
	}
}

// obey does what the client's frames say until there are no more, or one of them is against the protocol.
func (a *Agent) obey(p *process, in *input, r *wire.Reader) {
	for {
		t, payload, err := r.Next()
		if err != nil {
			return
		}
		switch t {
		case wire.Stdin:
			err = in.add(payload)
		case wire.StdinClose:
			in.end()
		case wire.Resize:
			err = a.resize(p, payload)
		case wire.Signal:
			if n := unix.SignalNum("SIG" + string(payload)); n != 0 {
				p.signal(n)
			}
		default:
			// A client that is newer than this agent may ask for more than it understands.
		}
		if err != nil {
			a.log.Warn("exec stream", "error", err)
			return
		}
	}
}

// resize passes a new size on to p's terminal. That p may have ended meanwhile is no error of the client's.
func (a *Agent) resize(p *process, payload []byte) error {
	size, err := wire.ParseResize(payload)
	if err != nil || p.tty == nil {
		return err
	}
	if err := p.resize(size); err != nil {
		a.log.Debug("resize terminal", "error", err)
	}
	return nil
}
