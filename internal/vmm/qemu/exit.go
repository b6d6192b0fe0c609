package qemu

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/qemu/qmp"
)

// consoleGrace is how long the end of a machine waits for its console to be read to the end. A reader that is slower
// only costs the panic message in Exit.
const consoleGrace = time.Second

// The reasons of the SHUTDOWN event that matter here (QEMU's qapi/run-state.json, ShutdownCause).
const (
	reasonShutdown = "guest-shutdown"
	reasonReset    = "guest-reset"
	reasonPanic    = "guest-panic"
)

// shutdownReason returns why the machine is about to end, or "" when e does not say so. An event whose data cannot be
// read says nothing.
func shutdownReason(e qmp.Event) string {
	switch e.Name {
	case "SHUTDOWN":
		var data qmp.Shutdown
		if json.Unmarshal(e.Data, &data) != nil {
			return ""
		}
		return data.Reason
	case "GUEST_PANICKED":
		return reasonPanic
	}
	return ""
}

// reap waits for the end of the process and for everything that it said before.
func (m *machine) reap() {
	<-m.process.Done()
	timer := time.NewTimer(consoleGrace)
	defer timer.Stop()
	select {
	case <-m.console.ended:
	case <-timer.C:
	}
	m.mu.Lock()
	monitor := m.monitor
	m.mu.Unlock()
	if monitor != nil {
		<-monitor.Done() // its peer is gone: it ends after the last event
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.exit = m.outcome()
	m.exit.At = m.process.Ended()
	close(m.done)
}

// outcome is called with m.mu held, after the process has ended.
func (m *machine) outcome() vmm.Exit {
	signal := m.process.Signal()
	if m.killed && signal == unix.SIGKILL {
		return vmm.Exit{Cause: vmm.CauseKilled, Detail: "killed on request"}
	}
	if m.process.Err() == nil {
		switch m.shutdown {
		case reasonShutdown:
			return vmm.Exit{Cause: vmm.CausePoweroff, Detail: "the guest powered itself off"}
		case reasonReset, reasonPanic:
			if text := m.console.panicked(); text != "" {
				return vmm.Exit{Cause: vmm.CausePanic, Detail: text}
			}
			if m.shutdown == reasonReset {
				return vmm.Exit{Cause: vmm.CauseReboot, Detail: "the guest asked for a reset"}
			}
			return vmm.Exit{Cause: vmm.CausePanic, Detail: "the guest's kernel panicked"}
		}
	}
	return vmm.Exit{Cause: vmm.CauseCrashed, Detail: m.crash(signal)}
}

// crash says in a sentence how a process ended that should not have.
func (m *machine) crash(signal syscall.Signal) string {
	detail := "qemu ended by itself"
	switch {
	case signal != 0:
		detail = fmt.Sprintf("qemu was ended by signal %d (%s), which banger did not send", int(signal), signal)
	case m.process.Err() != nil:
		detail = "qemu: " + m.process.Err().Error()
	case m.shutdown != "":
		detail = "qemu ended: " + m.shutdown
	}
	if words := m.stderr.LastLines(3); words != "" {
		detail += ": " + words
	}
	return detail
}

// complaints are parts of what QEMU says when it cannot start; the first that fits is taken.
var complaints = []struct {
	part  string
	class error
	hint  string
}{
	{`Failed to get "write" lock`, errdefs.ErrInUse, "another process has the disk open"},
	{"Cannot allocate memory", errdefs.ErrExhausted, "ask for less memory, or stop other machines"},
	{"initrd is too large", errdefs.ErrInvalid, "ask for more memory"},
	{"seccomp", errdefs.ErrUnavailable, "this QEMU was built without its sandbox; install the distribution's"},
	{"KVM", errdefs.ErrUnavailable, "set accelerator to tcg to do without KVM"},
	{"kernel", errdefs.ErrInvalid, "the kernel must be an x86-64 ELF vmlinux with a PVH entry (CONFIG_PVH)"},
}

// explain turns a failed start into an error that names the cause. The process has ended.
func (m *machine) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	words := m.stderr.LastLines(3)
	if words == "" {
		return fmt.Errorf("%w (%s)", err, m.Exit().Detail)
	}
	for _, known := range complaints {
		if strings.Contains(words, known.part) {
			return errdefs.WithHint(errdefs.New(known.class, "qemu: %s", words), "%s", known.hint)
		}
	}
	return errdefs.New(errdefs.ErrUnavailable, "qemu: %s", words)
}
