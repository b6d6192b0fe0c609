package vm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/proc"
	"github.com/banger-dev/banger/internal/shim/console"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/shim/logfile"
	"github.com/banger-dev/banger/internal/store"
)

const (
	leaveTime     = 10 * time.Second // for a shim to exit after it has said that the run ended
	brokenStreams = 5                // so many event streams of a living shim may break before it is given up
)

// run is one run of a VM, from the start of its shim until its end is recorded.
type run struct {
	id     string
	dir    control.Dir
	client *control.Client
	shim   control.Process
	exited <-chan struct{} // closed when the shim's process has ended
	gone   chan struct{}   // closed when the end is recorded and the run is forgotten
	end    *control.Exit   // valid after gone

	mu      sync.Mutex
	state   control.State
	changed chan struct{} // closed and replaced with each change
	keep    bool          // the VM is not removed when this run ends
}

func newRun(id string, dir control.Dir, shim control.Process, exited <-chan struct{}) *run {
	return &run{
		id: id, dir: dir, client: control.NewClient(dir), shim: shim, exited: exited, gone: make(chan struct{}),
		state: control.State{Phase: control.Starting}, changed: make(chan struct{}),
	}
}

func (r *run) show(state control.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = state
	close(r.changed)
	r.changed = make(chan struct{})
}

// look returns the state and what is closed when there is another.
func (r *run) look() (control.State, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state, r.changed
}

func (r *run) setKeep(keep bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep = keep
}

func (r *run) kept() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keep
}

// register makes r the run of its VM and watches it from now on.
func (s *Service) register(ctx context.Context, r *run) {
	s.mu.Lock()
	s.runs[r.id] = r
	s.mu.Unlock()
	s.background(ctx, func(ctx context.Context) { s.watch(ctx, r) })
}

// watch follows what the shim says to the end of the run, and records the end.
func (s *Service) watch(ctx context.Context, r *run) {
	if err := follow(ctx, r); err != nil {
		s.log.Warn("shim is lost", "vm", r.id, "error", err)
	}
	if ctx.Err() != nil {
		return // the service ends, the VM does not
	}
	if err := s.awaitShim(ctx, r); err != nil {
		s.log.Error("shim does not end", "vm", r.id, "error", err)
	}
	if ctx.Err() != nil {
		return
	}
	s.finish(ctx, r)
}

// follow returns nil when the shim has told the end.
func follow(ctx context.Context, r *run) error {
	for broken := 0; ; broken++ {
		err := r.client.Events(ctx, r.show)
		if err == nil || ctx.Err() != nil || errors.Is(err, control.ErrGone) || broken == brokenStreams {
			return err
		}
		c, err := control.Dial(ctx, r.dir) // is it the stream that ended, or the shim?
		if err != nil {
			return err
		}
		_ = c.Close()
	}
}

// awaitShim waits until the shim's process has ended, and ends it when it takes too long.
func (s *Service) awaitShim(ctx context.Context, r *run) error {
	timer := time.NewTimer(leaveTime)
	defer timer.Stop()
	select {
	case <-r.exited:
		return nil
	case <-ctx.Done():
		return nil
	case <-timer.C:
	}
	s.log.Warn("killing a shim that does not leave", "vm", r.id, "pid", r.shim.PID)
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	return proc.Kill(ctx, r.shim.PID, r.shim.Start)
}

// finish records how a run ended whose shim is gone, and forgets the run.
func (s *Service) finish(ctx context.Context, r *run) {
	exit := s.exitOf(ctx, r.dir)
	state, _ := r.look()
	rec, err := s.edit(ctx, r.id, func(rec *store.VMRecord) {
		facts(&rec.VM, state)
		setEnd(&rec.VM, exit)
	})
	if err != nil && !errors.Is(err, errdefs.ErrNotFound) && ctx.Err() == nil {
		s.log.Error("end of vm is not recorded", "vm", r.id, "error", err)
	}
	s.log.Info("vm ended", "vm", r.id, "reason", exit.Reason, "detail", exit.Detail)
	s.mu.Lock()
	if s.runs[r.id] == r {
		delete(s.runs, r.id)
	}
	s.mu.Unlock()
	r.end = &exit
	close(r.gone)
	s.at("ended")
	if err == nil && rec.AutoRemove && !r.kept() {
		s.background(ctx, func(ctx context.Context) { s.autoRemove(ctx, r.id) })
	}
}

// exitOf reads how the last run in dir ended. Its shim must be gone. A shim that left no word has been killed; its VMM
// was killed with it, by the kernel, and is made sure of.
func (s *Service) exitOf(ctx context.Context, dir control.Dir) control.Exit {
	var exit control.Exit
	err := control.Read(dir.Exit(), &exit)
	if err == nil {
		return exit
	}
	var p control.Processes
	if err := control.Read(dir.Processes(), &p); err == nil && p.VMM.PID != 0 {
		ctx, cancel := context.WithTimeout(ctx, leaveTime)
		defer cancel()
		if err := proc.Kill(ctx, p.VMM.PID, p.VMM.Start); err != nil {
			s.log.Error("vmm is left over", "pid", p.VMM.PID, "error", err)
		}
	}
	exit = control.Exit{VMExit: api.VMExit{Reason: "shim-lost", At: time.Now(), Console: lastLines(dir)}}
	exit.Detail = "its supervisor was killed"
	if !errors.Is(err, errdefs.ErrNotFound) {
		exit.Detail = err.Error()
	}
	if rebooted(dir) {
		exit.Reason, exit.Detail, exit.Console = "host-reboot", "the host went down while it ran", nil
	}
	return exit
}

// rebooted tells whether the host has booted since the VM of dir was started.
func rebooted(dir control.Dir) bool {
	var spec control.Spec
	if err := control.Read(dir.Spec(), &spec); err != nil {
		return false
	}
	now, err := proc.BootID()
	return err == nil && spec.HostBoot != now
}

func lastLines(dir control.Dir) []string {
	tail := tailBuffer{limit: 16 << 10}
	if err := logfile.Copy(&tail, dir.Console(), 40); err != nil {
		return []string{fmt.Sprintf("(%v)", err)}
	}
	return console.Lines(tail.text, 20)
}

// tailBuffer keeps the end of what is written to it.
type tailBuffer struct {
	text  []byte
	limit int
}

func (b *tailBuffer) Write(p []byte) (int, error) {
	b.text = append(b.text, p...)
	if over := len(b.text) - b.limit; over > 0 {
		b.text = append(b.text[:0], b.text[over:]...)
	}
	return len(p), nil
}
