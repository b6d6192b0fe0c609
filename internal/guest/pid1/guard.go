package pid1

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"time"
)

// Guard keeps the agent's server running until ctx ends, for inits that cannot be asked to.
func Guard(ctx context.Context, log *slog.Logger) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("guard the agent: %w", err)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		server := exec.CommandContext(ctx, self, "serve")
		server.Stdout, server.Stderr = os.Stdout, os.Stderr
		if err := server.Run(); ctx.Err() == nil {
			log.Error("agent ended", "error", err)
		}
		timer.Reset(restartDelay)
	}
}
