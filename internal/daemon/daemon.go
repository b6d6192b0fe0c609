// Package daemon is the composition root: it opens the store, wires the services, brings records in line with what is
// really there, and then serves. It holds no logic of its own.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/config"
	"github.com/banger-dev/banger/internal/daemon/flock"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/httpapi"
	"github.com/banger-dev/banger/internal/paths"
	"github.com/banger-dev/banger/internal/trim"
	"github.com/banger-dev/banger/internal/unixsock"
	"github.com/banger-dev/banger/internal/version"
	"github.com/banger-dev/banger/internal/vm"
)

// succession is how long a daemon waits for the one that it replaces.
const succession = 60 * time.Second

// Options say where and how a daemon runs.
type Options struct {
	Dirs       paths.Dirs
	Config     config.Config
	Executable string // the banger binary, which is also the shim's
	Report     *Report
	Log        *slog.Logger
	Driver     vm.Driver // nil: QEMU as configured
}

// Run runs a daemon until ctx ends or a client asks it to leave, and then until its streams have ended. force ends
// that last wait.
func Run(ctx context.Context, force <-chan struct{}, o Options) error {
	unix.Umask(0o077)
	boundMemory()
	err := run(ctx, force, o)
	if err != nil {
		o.Log.Error("daemon ended", "error", err)
	}
	return err
}

func run(ctx context.Context, force <-chan struct{}, o Options) error {
	if err := o.Dirs.Make(); err != nil {
		return err
	}
	lock, err := takeOver(ctx, o)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Release() }() // the kernel would do it next
	services, err := open(ctx, o)
	if err != nil {
		return err
	}
	if err := services.reconcile(ctx); err != nil {
		return errors.Join(err, services.close())
	}
	d, err := newDaemon(o, services)
	if err != nil {
		return errors.Join(err, services.close())
	}
	return d.serve(ctx, force, lock)
}

// takeOver takes the lock of the state directory. A daemon that was started to replace another waits for it.
func takeOver(ctx context.Context, o Options) (*flock.Lock, error) {
	if o.Report.Awaited() {
		ctx, cancel := context.WithTimeoutCause(ctx, succession, fmt.Errorf("it did not leave within %s", succession))
		defer cancel()
		return flock.Wait(ctx, o.Dirs.DaemonLock())
	}
	lock, err := flock.Try(o.Dirs.DaemonLock())
	if errors.Is(err, errdefs.ErrInUse) {
		err = errdefs.WithHint(fmt.Errorf("run daemon: another one is running: %w", err), "`banger daemon stop` ends it")
	}
	return lock, err
}

// daemon is one running daemon.
type daemon struct {
	options  Options
	services *services
	version  api.Version
	leave    chan struct{} // holds one token when a client asked us to leave
}

func newDaemon(o Options, s *services) (*daemon, error) {
	build, err := version.Build()
	if err != nil {
		return nil, err
	}
	return &daemon{
		options: o, services: s, leave: make(chan struct{}, 1),
		version: api.Version{
			Version: version.Version, Build: build, PID: os.Getpid(), StartedAt: time.Now(),
			Socket: o.Dirs.Socket(), StateDir: o.Dirs.State,
		},
	}, nil
}

// Version says who this daemon is.
func (d *daemon) Version() api.Version { return d.version }

// Shutdown makes the daemon leave.
func (d *daemon) Shutdown() {
	select {
	case d.leave <- struct{}{}:
	default: // it is leaving
	}
}

func (d *daemon) serve(ctx context.Context, force <-chan struct{}, lock *flock.Lock) error {
	listener, err := unixsock.Listen(d.options.Dirs.Socket()) //nolint:contextcheck // listens for longer than ctx
	if err != nil {
		return errors.Join(err, d.services.close())
	}
	handler := httpapi.New(d.services.http(d), d.options.Log)
	server := handler.HTTP()
	var memory trim.Trimmer
	defer memory.End()
	server.Handler = memory.During(handler)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	if err := d.options.Report.Send(nil); err != nil {
		d.options.Log.Warn("whoever started the daemon is gone", "error", err)
	}
	d.options.Log.Info("daemon serves", "socket", d.options.Dirs.Socket(), "version", d.version.Version, "build", d.version.Build)
	select {
	case <-ctx.Done():
		err = nil
	case <-d.leave:
	case err = <-failed:
		err = fmt.Errorf("serve %s: %w", d.options.Dirs.Socket(), err)
	}
	return errors.Join(err, d.withdraw(server, handler, lock, force)) //nolint:contextcheck // ctx has ended
}
