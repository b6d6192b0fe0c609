package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/cli/progress"
)

func newVMStop(a *app) *cobra.Command {
	var timeout timeoutFlag
	cmd := &cobra.Command{
		Use: "stop REF...", Short: "Stop VMs: ask the guest, wait, and kill it when it does not end", Annotations: called("vm stop"),
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: a.completeVMs(api.StateStarting, api.StateRunning, api.StatePaused),
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := timeout.request()
			if err != nil {
				return err
			}
			return a.eachVM(cmd, args, func(ctx context.Context, c *api.Client, vm api.VM, report api.Progress) error {
				began := time.Now()
				result, err := c.StopVM(ctx, vm.ID, req, report)
				if err == nil && result.Escalated {
					report(api.Event{Warning: fmt.Sprintf("the guest did not end within %s and was killed", progress.Took(time.Since(began)))})
				}
				return err
			})
		},
	}
	timeout.register(cmd)
	return cmd
}

// timeoutFlag is how long a guest may take to end.
type timeoutFlag struct{ duration time.Duration }

func (f *timeoutFlag) register(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&f.duration, "timeout", 30*time.Second, "how long the guest may take before it is killed")
}

func (f *timeoutFlag) request() (api.StopRequest, error) {
	if f.duration < time.Millisecond {
		return api.StopRequest{}, usagef("--timeout %s: must be at least 1ms; `banger vm kill` does not wait", f.duration)
	}
	return api.StopRequest{TimeoutMS: f.duration.Milliseconds()}, nil
}
