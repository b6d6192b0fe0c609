package fake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/child"
)

type machine struct {
	o    Options
	cfg  vmm.Config
	gate gate
	done chan struct{}

	agent, console, network net.Conn // our ends; valid after Start

	mu      sync.Mutex
	started bool // Start was called, or Kill before it
	killed  bool
	process *child.Process
	exit    vmm.Exit
}

var _ vmm.Machine = (*machine)(nil)

func newMachine(o Options, cfg vmm.Config) *machine {
	return &machine{o: o, cfg: cfg, done: make(chan struct{})}
}

// Start implements vmm.Machine.
func (m *machine) Start(ctx context.Context) error {
	if err := m.start(ctx); err != nil {
		return fmt.Errorf("start machine %s: %w", m.cfg.ID, err)
	}
	return nil
}

func (m *machine) start(ctx context.Context) error {
	m.mu.Lock()
	again := m.started
	m.started = true
	m.mu.Unlock()
	if again {
		return errdefs.New(errdefs.ErrState, "it was started or killed before")
	}
	err := m.boot(ctx)
	if err != nil {
		m.finish(vmm.Exit{Cause: vmm.CauseCrashed, Detail: err.Error(), At: time.Now()})
	}
	return err
}

// boot leaves no process when it fails.
func (m *machine) boot(ctx context.Context) error {
	if err := errors.Join(ctx.Err(), m.o.Fail(ctx, StepStart, m.cfg)); err != nil {
		return err
	}
	p, err := child.Spawn(child.Spec{Binary: "sleep", Args: []string{"infinity"}, Dir: m.cfg.Dir})
	if err != nil {
		return errdefs.As(errdefs.ErrUnavailable, err)
	}
	h, err := m.connect()
	if err == nil {
		err = errors.Join(m.o.Fail(ctx, StepBoot, m.cfg), ctx.Err())
	}
	if err != nil {
		_ = p.Kill()
		<-p.Done()
		closeAll(m.agent, m.console, m.network)
		h.unplug()
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.process = p
	if m.killed { // while it booted
		_ = p.Kill()
	}
	go m.run(p, h) //nolint:gosec,contextcheck // the end of ctx does not end a started machine
	return nil
}

// connect makes the links between the guest and the host.
func (m *machine) connect() (hardware, error) {
	h := hardware{Hardware: Hardware{Config: m.cfg}}
	for _, one := range []struct {
		name string
		ours *net.Conn
		use  func(net.Conn)
		skip bool
	}{
		{"agent", &m.agent, func(c net.Conn) { h.Agent = c }, false},
		{"console", &m.console, func(c net.Conn) { h.Console = c }, false},
		{"network", &m.network, func(c net.Conn) { h.Network = c }, !m.cfg.Network},
	} {
		if one.skip {
			continue
		}
		ours, theirs, err := child.Conns(one.name)
		if err != nil {
			return h, err
		}
		*one.ours = ours
		h.conns = append(h.conns, theirs)
		one.use(gated{theirs, &m.gate})
	}
	return h, nil
}

type hardware struct {
	Hardware
	conns []net.Conn
}

func (h hardware) unplug() { closeAll(h.conns...) }

func closeAll(conns ...net.Conn) {
	for _, c := range conns {
		if c != nil {
			_ = c.Close()
		}
	}
}

// run plays the machine until the guest, its process or an injected failure ends it.
func (m *machine) run(p *child.Process, h hardware) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	guest, crash := make(chan vmm.Cause, 1), make(chan error, 1)
	go func() {
		defer close(guest)
		guest <- m.o.Guest(ctx, h.Hardware)
	}()
	go func() {
		defer close(crash)
		crash <- m.o.Fail(ctx, StepRunning, m.cfg)
	}()
	exit := m.wait(p, guest, crash)
	_ = p.Kill()
	<-p.Done()
	cancel()
	m.gate.remove()
	h.unplug()
	drain(guest)
	drain(crash)
	exit.At = p.Ended()
	m.finish(exit)
}

// drain waits until c is closed.
func drain[T any](c <-chan T) {
	for range c { // what comes is too late to matter
	}
}

// wait returns why the machine ends.
func (m *machine) wait(p *child.Process, guest <-chan vmm.Cause, crash <-chan error) vmm.Exit {
	for {
		select {
		case cause := <-guest:
			return vmm.Exit{Cause: cause, Detail: "the guest ended: " + string(cause)}
		case <-p.Done():
			return m.processExit(p)
		case err := <-crash:
			if err != nil {
				return vmm.Exit{Cause: vmm.CauseCrashed, Detail: err.Error()}
			}
			crash = nil // no failure was injected
		}
	}
}

func (m *machine) processExit(p *child.Process) vmm.Exit {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.killed {
		return vmm.Exit{Cause: vmm.CauseKilled, Detail: "killed on request"}
	}
	return vmm.Exit{Cause: vmm.CauseCrashed, Detail: fmt.Sprintf("ended by signal %d", int(p.Signal()))}
}

func (m *machine) finish(exit vmm.Exit) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.exit = exit
	close(m.done)
}

// Agent implements vmm.Machine.
func (m *machine) Agent() net.Conn { return m.agent }

// Console implements vmm.Machine.
func (m *machine) Console() io.Reader { return m.console }

// Network implements vmm.Machine.
func (m *machine) Network() net.Conn { return m.network }

// Pause implements vmm.Machine.
func (m *machine) Pause(context.Context) error { return m.turn("pause", m.gate.close) }

// Resume implements vmm.Machine.
func (m *machine) Resume(context.Context) error { return m.turn("resume", m.gate.open) }

func (m *machine) turn(operation string, gate func()) error {
	select {
	case <-m.done:
	default:
		if m.PID() != 0 {
			gate()
			return nil
		}
	}
	return errdefs.New(errdefs.ErrState, "%s machine %s: it is not running", operation, m.cfg.ID)
}

// PowerButton implements vmm.Machine: there is none.
func (m *machine) PowerButton(context.Context) error {
	return fmt.Errorf("press power button of machine %s: %w", m.cfg.ID, errors.ErrUnsupported)
}

// Kill implements vmm.Machine.
func (m *machine) Kill() error {
	m.mu.Lock()
	first := !m.started
	m.started, m.killed = true, true
	p := m.process
	m.mu.Unlock()
	if first {
		m.finish(vmm.Exit{Cause: vmm.CauseKilled, Detail: "killed before it was started", At: time.Now()})
	}
	if p == nil {
		return nil
	}
	return p.Kill()
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
