package fake_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/fake"
	"github.com/banger-dev/banger/internal/vmm/vmmtest"
)

func obey(ctx context.Context, h fake.Hardware) vmm.Cause {
	return vmmtest.Obey(ctx, h.Agent, h.Console)
}

func TestContract(t *testing.T) {
	vmmtest.Run(t, func(testing.TB) vmm.Driver {
		return fake.New(fake.Options{Guest: obey})
	}, vmmtest.Fixture{Kernel: vmmtest.NoKernel(t)})
}

var errInjected = errors.New("injected")

func TestFailures(t *testing.T) {
	defer goleak.VerifyNone(t)
	for _, step := range []fake.Step{fake.StepPrepare, fake.StepStart, fake.StepBoot} {
		t.Run(string(step), func(t *testing.T) {
			err := prepareAndStart(context.Background(), t, func(context.Context) error { return errInjected }, step)
			if !errors.Is(err, errInjected) {
				t.Errorf("got %v, want the injected error", err)
			}
		})
		t.Run(string(step)+" hangs", func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			err := prepareAndStart(ctx, t, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, step)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want context.DeadlineExceeded", err)
			}
		})
	}
}

// prepareAndStart fails at step in the given way and checks that no process is left.
func prepareAndStart(ctx context.Context, t *testing.T, fail func(context.Context) error, step fake.Step) error {
	t.Helper()
	d := fake.New(fake.Options{Fail: at(step, fail)})
	m, err := d.Prepare(ctx, config(t))
	if err != nil {
		return err
	}
	err = m.Start(ctx)
	<-m.Done()
	if m.Exit().Cause != vmm.CauseCrashed {
		t.Errorf("exit %+v, want crashed", m.Exit())
	}
	if pid := m.PID(); pid != 0 {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); err == nil {
			t.Errorf("process %d is left", pid)
		}
	}
	return err
}

func TestCrashWhileRunning(t *testing.T) {
	defer goleak.VerifyNone(t)
	d := fake.New(fake.Options{Guest: obey, Fail: at(fake.StepRunning, func(context.Context) error { return errInjected })})
	m, err := d.Prepare(context.Background(), config(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	<-m.Done()
	if exit := m.Exit(); exit.Cause != vmm.CauseCrashed || exit.Detail != errInjected.Error() {
		t.Errorf("exit %+v, want crashed, with the injected error", exit)
	}
	_ = m.Agent().Close()
}

func at(step fake.Step, fail func(context.Context) error) func(context.Context, fake.Step, vmm.Config) error {
	return func(ctx context.Context, s fake.Step, _ vmm.Config) error {
		if s != step {
			return nil
		}
		return fail(ctx)
	}
}

func config(t *testing.T) vmm.Config {
	return vmm.Config{ID: "fake", Dir: t.TempDir(), VCPU: 1, Memory: 64 << 20, Kernel: vmmtest.NoKernel(t)}
}
