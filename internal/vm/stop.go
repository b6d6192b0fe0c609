package vm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/op"
	"github.com/banger-dev/banger/internal/proc"
	"github.com/banger-dev/banger/internal/shim/control"
	"github.com/banger-dev/banger/internal/store"
)

// defaultStop is how long a guest may take to end when the request does not say.
const defaultStop = 30 * time.Second

// Stop asks the guest to end and waits for that; when it takes longer than the request allows, its VMM is killed and
// the result says so. A start that is going on is called off. A VM that does not run is left as it is.
func (s *Service) Stop(ctx context.Context, reference string, req api.StopRequest) (api.StopResult, error) {
	r, err := s.resolve(ctx, reference)
	if err != nil {
		return api.StopResult{}, fmt.Errorf("stop vm: %w", err)
	}
	result := api.StopResult{VM: r.VM}
	running, err := s.settle(ctx, r.ID, errStopped)
	if err == nil && running != nil {
		result.Escalated, err = s.stop(ctx, running, req)
	}
	if err != nil {
		return api.StopResult{}, fmt.Errorf("stop vm %s: %w", r.Name, err)
	}
	result.VM = s.after(ctx, r, running)
	return result, nil
}

func (s *Service) stop(ctx context.Context, running *run, req api.StopRequest) (escalated bool, err error) {
	timeout := time.Duration(req.TimeoutMS) * time.Millisecond
	if timeout <= 0 {
		timeout = defaultStop
	}
	stage := op.Begin(ctx, "stop", "")
	s.at("stop.asked")
	answer, err := running.client.Stop(ctx, timeout)
	if ctx.Err() != nil {
		return false, stage.End(err)
	}
	// Whatever became of the call: it is the end of the run that counts. It is near when the shim is gone.
	if err != nil && !errors.Is(err, control.ErrGone) {
		op.Log(ctx).Warn("the shim's answer is lost", "error", err)
	}
	if err := await(ctx, running.gone); err != nil {
		return false, stage.End(err)
	}
	if answer.Escalated {
		op.Warn(ctx, fmt.Sprintf("the guest did not end in time and was killed: %s", running.end.Detail))
	}
	return answer.Escalated, stage.End(nil)
}

// Kill ends a VM at once: what its guest has not written out is lost. A start that is going on is called off. A VM that
// does not run is left as it is.
func (s *Service) Kill(ctx context.Context, reference string) (api.VM, error) {
	r, err := s.resolve(ctx, reference)
	if err != nil {
		return api.VM{}, fmt.Errorf("kill vm: %w", err)
	}
	running, err := s.settle(ctx, r.ID, errStopped)
	if err == nil && running != nil {
		err = s.end(ctx, running)
	}
	if err != nil {
		return api.VM{}, fmt.Errorf("kill vm %s: %w", r.Name, err)
	}
	return s.after(ctx, r, running), nil
}

// end kills a run and waits until its end is recorded. A shim that does not answer is killed, and its VMM with it.
func (s *Service) end(ctx context.Context, running *run) error {
	call, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	if err := running.client.Kill(call); err != nil && !errors.Is(err, control.ErrGone) && ctx.Err() == nil {
		s.log.Warn("killing a shim that does not answer", "vm", running.id, "error", err)
		if err := proc.Kill(ctx, running.shim.PID, running.shim.Start); err != nil {
			return err
		}
	}
	return await(ctx, running.gone)
}

// after returns the VM as it is after the end of a run. One that is to be removed when it stops is gone by then.
func (s *Service) after(ctx context.Context, before store.VMRecord, running *run) api.VM {
	if running == nil {
		return s.view(before)
	}
	if before.AutoRemove {
		ctx, cancel := cleanup(ctx)
		defer cancel()
		s.autoRemove(ctx, before.ID)
	}
	if now, err := s.record(ctx, before.ID); err == nil {
		return s.view(now)
	}
	setEnd(&before.VM, *running.end)
	return before.VM
}

// Restart stops a VM, if it runs, and starts it again.
func (s *Service) Restart(ctx context.Context, reference string, req api.StopRequest) (api.VM, error) {
	r, err := s.resolve(ctx, reference)
	if err != nil {
		return api.VM{}, fmt.Errorf("restart vm: %w", err)
	}
	err = s.exclusive(ctx, r.ID, func(ctx context.Context) error { return s.restart(ctx, r.ID, req) })
	if err != nil {
		return api.VM{}, fmt.Errorf("restart vm %s: %w", r.Name, err)
	}
	if r, err = s.record(ctx, r.ID); err != nil {
		return api.VM{}, fmt.Errorf("restart vm: %w", err)
	}
	return s.view(r), nil
}

// restart is called in exclusive. A VM that is removed when it stops survives this stop.
func (s *Service) restart(ctx context.Context, id string, req api.StopRequest) error {
	if running := s.current(id); running != nil {
		running.setKeep(true)
		if _, err := s.stop(ctx, running, req); err != nil {
			running.setKeep(false)
			return err
		}
	}
	return s.start(ctx, id)
}
