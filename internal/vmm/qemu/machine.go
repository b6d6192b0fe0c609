package qemu

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/child"
	"github.com/banger-dev/banger/internal/vmm/qemu/qmp"
)

// stderrTail is how many bytes of QEMU's messages are kept.
const stderrTail = 8 << 10

// machine is one QEMU process, before, while and after it runs.
type machine struct {
	host host
	cfg  vmm.Config

	stderr *child.Ring
	done   chan struct{}

	mu       sync.Mutex
	started  bool // Start was called, or Kill before it
	killed   bool
	links    *links
	console  *console
	process  *child.Process
	monitor  *qmp.Client
	shutdown string // the reason that QEMU gave last, "" before
	exit     vmm.Exit
}

var _ vmm.Machine = (*machine)(nil)

func newMachine(h host, cfg vmm.Config) *machine {
	return &machine{host: h, cfg: cfg, stderr: child.NewRing(stderrTail), done: make(chan struct{})}
}

// Start implements vmm.Machine.
func (m *machine) Start(ctx context.Context) error {
	if err := m.spawn(ctx); err != nil {
		return fmt.Errorf("start machine %s: %w", m.cfg.ID, err)
	}
	err := m.waitRunning(ctx)
	if err == nil {
		return nil
	}
	_ = m.Kill()
	_ = m.console.reader.Close() // nobody will read it
	<-m.done
	m.links.close()
	return fmt.Errorf("start machine %s: %w", m.cfg.ID, m.explain(ctx, err))
}

// spawn starts the process and all that watches it.
func (m *machine) spawn(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.started {
		return errdefs.New(errdefs.ErrState, "it was started or killed before")
	}
	m.started = true
	links, process, err := m.launch(ctx)
	if err != nil {
		m.exit = vmm.Exit{Cause: vmm.CauseCrashed, Detail: err.Error(), At: time.Now()}
		close(m.done)
		return err
	}
	m.links, m.process, m.console = links, process, newConsole(links.console)
	go m.reap()
	return nil
}

func (m *machine) launch(ctx context.Context) (*links, *child.Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	l, err := newLinks(m.cfg.Network)
	if err != nil {
		return nil, nil, err
	}
	defer l.closeFiles()
	p, err := child.Spawn(child.Spec{
		Binary: m.host.binary, Args: arguments(m.host, m.cfg, l.fd), Dir: m.cfg.Dir, Files: l.files, Stderr: m.stderr,
	})
	if err != nil {
		l.close()
		return nil, nil, errdefs.As(errdefs.ErrUnavailable, err)
	}
	return l, p, nil
}

// waitRunning returns when QEMU says that the CPUs run. It starts them as soon as the machine is set up, and answers
// the monitor only after that.
func (m *machine) waitRunning(ctx context.Context) error {
	monitor, _, err := qmp.Connect(ctx, m.links.qmp, m.event)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.monitor = monitor
	m.mu.Unlock()
	var status struct {
		Status string `json:"status"`
	}
	if err := monitor.Execute(ctx, "query-status", nil, &status); err != nil {
		return err
	}
	if status.Status != "running" {
		return fmt.Errorf("the machine is %q instead of running", status.Status)
	}
	return nil
}

// event is called by the monitor, in its goroutine.
func (m *machine) event(e qmp.Event) {
	reason := shutdownReason(e)
	if reason == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shutdown = reason
}

// Agent implements vmm.Machine.
func (m *machine) Agent() net.Conn { return m.links.agent }

// Console implements vmm.Machine.
func (m *machine) Console() io.Reader { return m.console.reader }

// Network implements vmm.Machine.
func (m *machine) Network() net.Conn { return m.links.network }

// Pause implements vmm.Machine.
func (m *machine) Pause(ctx context.Context) error { return m.command(ctx, "pause", "stop") }

// Resume implements vmm.Machine.
func (m *machine) Resume(ctx context.Context) error { return m.command(ctx, "resume", "cont") }

// PowerButton implements vmm.Machine: an ACPI power button event, which a guest without a listener ignores.
func (m *machine) PowerButton(ctx context.Context) error {
	return m.command(ctx, "press power button of", "system_powerdown")
}

func (m *machine) command(ctx context.Context, operation, command string) error {
	m.mu.Lock()
	monitor := m.monitor
	m.mu.Unlock()
	if monitor == nil {
		return errdefs.New(errdefs.ErrState, "%s machine %s: it is not running", operation, m.cfg.ID)
	}
	err := monitor.Execute(ctx, command, nil, nil)
	select {
	case <-monitor.Done():
		err = errdefs.As(errdefs.ErrState, err) // it has ended; nothing that was asked of it can be wrong otherwise
	default:
	}
	if err != nil {
		return fmt.Errorf("%s machine %s: %w", operation, m.cfg.ID, err)
	}
	return nil
}

// Kill implements vmm.Machine.
func (m *machine) Kill() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.killed = true
	if m.process != nil {
		if err := m.process.Kill(); err != nil {
			return fmt.Errorf("kill machine %s: %w", m.cfg.ID, err)
		}
		return nil
	}
	if !m.started {
		m.started = true
		m.exit = vmm.Exit{Cause: vmm.CauseKilled, Detail: "killed before it was started", At: time.Now()}
		close(m.done)
	}
	return nil
}

// Done implements vmm.Machine.
func (m *machine) Done() <-chan struct{} { return m.done }

// Exit implements vmm.Machine.
func (m *machine) Exit() vmm.Exit {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.exit
}

// PID implements vmm.Machine.
func (m *machine) PID() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process == nil {
		return 0
	}
	return m.process.PID()
}
