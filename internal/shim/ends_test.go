package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/unixsock"
	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/fake"
)

func TestBootTimeout(t *testing.T) {
	r := run(t, func(ctx context.Context, h fake.Hardware) vmm.Cause {
		_, _ = io.WriteString(h.Console, "waiting for godot\n")
		<-ctx.Done()
		return vmm.CausePoweroff
	}, func(s *control.Spec, _ *Parts) { s.BootTimeout = 200 * time.Millisecond })
	e := r.exit()
	err := control.Unpack(e.Error)
	if e.Reason != "boot-failed" || !errors.Is(err, errdefs.ErrTimeout) || errdefs.Hint(err) == "" ||
		!strings.Contains(err.Error(), "stage kernel") || !strings.Contains(err.Error(), "waiting for godot") {
		t.Errorf("exit: %+v, error %v, hint %q", e, err, errdefs.Hint(err))
	}
}

func TestDriverFailures(t *testing.T) {
	for _, step := range []fake.Step{fake.StepPrepare, fake.StepStart, fake.StepBoot} {
		t.Run(string(step), func(t *testing.T) {
			broken := errdefs.WithHint(errdefs.New(errdefs.ErrExhausted, "no memory"), "buy some")
			r := run(t, obedient, func(_ *control.Spec, p *Parts) {
				p.Driver = func(control.Spec) (vmm.Driver, error) {
					return fake.New(fake.Options{Fail: func(_ context.Context, s fake.Step, _ vmm.Config) error {
						if s == step {
							return broken
						}
						return nil
					}}), nil
				}
			})
			err := control.Unpack(r.exit().Error)
			if !errors.Is(err, errdefs.ErrExhausted) || errdefs.Hint(err) != "buy some" || !strings.Contains(err.Error(), "stage vmm") {
				t.Errorf("error %v, hint %q", err, errdefs.Hint(err))
			}
		})
	}
}

func TestEndWhileTheVMMStarts(t *testing.T) {
	for name, end := range map[string]func(*rig) error{
		"stop": func(r *rig) error { _, err := r.client.Stop(t.Context(), time.Minute); return err },
		"kill": func(r *rig) error { return r.client.Kill(t.Context()) },
		"term": func(r *rig) error { r.cancel(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			reached := make(chan struct{})
			r := run(t, obedient, func(_ *control.Spec, p *Parts) {
				p.Driver = func(control.Spec) (vmm.Driver, error) {
					return fake.New(fake.Options{Fail: func(ctx context.Context, s fake.Step, _ vmm.Config) error {
						if s != fake.StepBoot {
							return nil
						}
						close(reached)
						<-ctx.Done()
						return ctx.Err()
					}}), nil
				}
			})
			<-reached
			if err := end(r); err != nil {
				t.Errorf("end: %v", err)
			}
			if e := r.exit(); e.Reason != map[string]string{"stop": "stopped", "kill": "killed", "term": "stopped"}[name] {
				t.Errorf("exit: %+v", e)
			}
		})
	}
}

func TestGuestEndsByItself(t *testing.T) {
	tests := map[string]struct {
		says   string
		cause  vmm.Cause
		reason string
		detail string
	}{
		"poweroff": {"", vmm.CausePoweroff, "poweroff", ""},
		"reboot":   {"", vmm.CauseReboot, "reboot", ""},
		"panic":    {"[9.9] Kernel panic - not syncing: Fatal exception\r\n", vmm.CauseReboot, "crashed", "Kernel panic - not syncing: Fatal exception"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			end := make(chan struct{})
			r := run(t, func(ctx context.Context, h fake.Hardware) vmm.Cause {
				ctx, cancel := context.WithCancel(ctx)
				var wg sync.WaitGroup
				wg.Go(func() { serve(ctx, h) })
				<-end
				_, _ = io.WriteString(h.Console, tt.says)
				cancel()
				wg.Wait()
				return tt.cause
			}, nil)
			r.running()
			close(end)
			if e := r.exit(); e.Reason != tt.reason || !strings.Contains(e.Detail, tt.detail) || e.Error != nil {
				t.Errorf("exit: %+v", e)
			}
		})
	}
}

func TestConsoleOverHTTP(t *testing.T) {
	more := make(chan struct{})
	r := run(t, func(ctx context.Context, h fake.Hardware) vmm.Cause {
		_, _ = io.WriteString(h.Console, "one\ntwo\n")
		go func() { <-more; _, _ = io.WriteString(h.Console, "three\n") }()
		return serve(ctx, h)
	}, nil)
	r.running()
	var tail strings.Builder
	if err := r.client.Console(t.Context(), &tail, 1, false); err != nil || tail.String() != "two\n" {
		t.Errorf("tail = %q, %v", tail.String(), err)
	}
	var all strings.Builder
	followed := make(chan error, 1)
	go func() { followed <- r.client.Console(t.Context(), &all, -1, true) }()
	close(more)
	if _, err := r.client.Stop(t.Context(), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := <-followed; err != nil || all.String() != "one\ntwo\nthree\n" {
		t.Errorf("followed %q, %v", all.String(), err)
	}
}

func TestSpecThatCannotBeRead(t *testing.T) {
	dir := control.Dir(t.TempDir())
	l, err := unixsock.Listen(dir.Socket())
	if err != nil {
		t.Fatal(err)
	}
	err = Run(t.Context(), dir, l, Parts{}, slog.New(slog.DiscardHandler), func() { t.Error("it says that it is ready") })
	if !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("Run = %v", err)
	}
}

func TestPhases(t *testing.T) {
	tests := []struct {
		from control.Phase
		e    event
		to   control.Phase // "": refused
	}{
		{control.Starting, identified, control.Running},
		{control.Starting, paused, ""},
		{control.Starting, resumed, ""},
		{control.Running, paused, control.Paused},
		{control.Running, identified, control.Running},
		{control.Running, resumed, ""},
		{control.Paused, resumed, control.Running},
		{control.Paused, identified, control.Paused},
		{control.Ended, identified, ""},
		{control.Ended, paused, ""},
		{control.Ended, over, ""},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.from, " ", tt.e), func(t *testing.T) {
			b := newBoard()
			b.state.Phase = tt.from
			err := b.step(tt.e, func(*control.State) {})
			if tt.to == "" && !errors.Is(err, errdefs.ErrState) {
				t.Errorf("step = %v", err)
			}
			if tt.to != "" && (err != nil || b.get().Phase != tt.to) {
				t.Errorf("step leads to %s, %v", b.get().Phase, err)
			}
		})
	}
}
