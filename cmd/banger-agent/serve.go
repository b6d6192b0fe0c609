package main

import (
	"context"
	"log/slog"

	"github.com/banger-dev/banger/internal/guest/agent"
	"github.com/banger-dev/banger/internal/guest/boot"
	"github.com/banger-dev/banger/internal/guest/system"
)

// serve serves the host on the machine's port, session after session, until ctx ends.
func serve(ctx context.Context, log *slog.Logger) error {
	report, err := boot.ReadReport()
	if err != nil {
		return err
	}
	if err := system.Protect(); err != nil {
		log.Warn("go on unprotected", "error", err)
	}
	cgroup, err := system.ExecCgroup()
	if err != nil {
		log.Warn("commands share the agent's control group", "error", err)
	}
	a := agent.New(agent.Options{
		Version:  version,
		Init:     report.Init,
		Warnings: report.Warnings,
		System:   system.System{Init: report.Init},
		Console:  "/dev/console",
		Cgroup:   cgroup,
		State:    boot.IdentityFile,
		Log:      log,
	})
	log.Debug("agent starts", "version", version)
	for ctx.Err() == nil {
		port, err := system.OpenPort(ctx)
		if ctx.Err() != nil {
			port.Close() // harmless when there is none
			break
		}
		if err != nil {
			return err
		}
		// Greeting the host blocks while it is not there, so this does not spin.
		if err := a.Serve(ctx, port); err != nil && ctx.Err() == nil {
			log.Warn("session", "error", err)
		}
	}
	return nil
}
