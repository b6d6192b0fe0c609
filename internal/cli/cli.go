// Package cli is the banger command: one file a verb, each of which parses, calls the daemon through package api, and
// prints. It is the only package that prints.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/cli/terminal"
	"github.com/banger-dev/banger/internal/config"
	"github.com/banger-dev/banger/internal/daemon"
	"github.com/banger-dev/banger/internal/daemon/spawn"
	"github.com/banger-dev/banger/internal/paths"
	"github.com/banger-dev/banger/internal/shim"
	"github.com/banger-dev/banger/internal/version"
)

// app is one run of the command.
type app struct {
	in      *os.File
	out     io.Writer
	err     *os.File
	signals *signals
	style   terminal.Style // of out
	quiet   bool           // -q of the verb that runs

	client   func() (*api.Client, error) // of a daemon of this build, which is started where it is missing
	services services
}

// services are what banger is besides the command line.
type services struct {
	daemon func(ctx context.Context, force <-chan struct{}, o daemon.Options) error
	shim   func(ctx context.Context, dir string) error
}

// Main runs banger with the arguments after its name and returns the exit status.
func Main(args []string) int {
	return run(args, services{daemon: daemon.Run, shim: shim.Main})
}

func run(args []string, s services) int {
	a := &app{in: os.Stdin, out: output{os.Stdout}, err: os.Stderr, style: terminal.StyleOf(os.Stdout), services: s}
	a.client = sync.OnceValues(a.connect)
	ctx, stop := a.catchSignals(context.Background())
	defer stop()
	root := newRoot(a)
	root.SetArgs(args)
	root.SetOut(a.out)
	root.SetErr(a.err)
	return a.finish(root.ExecuteContext(ctx))
}

// connect makes the client. Nothing is dialled before its first call.
func (a *app) connect() (*api.Client, error) {
	starter, err := a.starter()
	if err != nil {
		return nil, err
	}
	return api.NewWithDialer(starter.Dial), nil
}

func (a *app) starter() (*spawn.Starter, error) {
	dirs, err := paths.Resolve()
	if err != nil {
		return nil, err
	}
	executable, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the banger executable: %w", err)
	}
	build, err := version.Build()
	if err != nil {
		return nil, err
	}
	return &spawn.Starter{Dirs: dirs, Executable: executable, Build: build}, nil
}

// defaults reads the user's configuration.
func (a *app) defaults() (config.Config, error) {
	dirs, err := paths.Resolve()
	if err != nil {
		return config.Config{}, err
	}
	return config.Load(dirs.ConfigFile(), os.LookupEnv)
}

// errEnough is a write to a standard output that nobody reads any more.
var errEnough = errors.New("standard output is closed")

// output is standard output. It tells its own end from that of other pipes.
type output struct{ file *os.File }

func (o output) Write(p []byte) (int, error) {
	n, err := o.file.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		err = errEnough
	}
	return n, err
}
