// Package doctor checks whether this host can do what banger needs of it, and says what to do where it cannot.
// It reads only.
package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/config"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/paths"
	"github.com/banger-dev/banger/internal/vmm"
)

// What a check can find. A WARN is something that works less well, or that only some commands need.
const (
	Pass = "PASS"
	Warn = "WARN"
	Fail = "FAIL"
)

// patience bounds the checks together. The accelerator probe is the only one that may take seconds.
const patience = 30 * time.Second

// Describer looks at the VMM, as vmm.Driver does.
type Describer interface {
	Describe(ctx context.Context) (vmm.Capabilities, error)
}

// Records is what is read of the store.
type Records interface {
	Images(ctx context.Context) ([]api.Image, error)
	Kernels(ctx context.Context) ([]api.Kernel, error)
}

// Options say what is checked, and how.
type Options struct {
	Dirs    paths.Dirs
	Config  config.Config
	Agent   string // path of the guest agent's executable
	Driver  Describer
	Records Records // nil: what depends on the store is not checked
	// StoreErr is why there are no Records; nil if nobody has tried.
	StoreErr error
	Daemon   func(ctx context.Context) (api.Version, error) // asks the daemon who it is
	Build    string                                         // of the caller, as in api.Version
	Host     Host                                           // zero: this host
}

// checks are all checks, in the order in which they are reported: what everything needs comes first.
var checks = []func(context.Context, Options) []api.Check{
	machine, agent, directories, space, runtimeDirectory, daemon, records,
	images, workDisk, kernels, namespaces, programs, staging, cgroups,
}

// Run makes every check. It returns within half a minute, also when ctx lasts longer.
func Run(ctx context.Context, o Options) []api.Check {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o.Host = o.Host.orReal()
	var found []api.Check
	for _, check := range checks {
		found = append(found, check(ctx, o)...)
	}
	return found
}

func pass(name, format string, args ...any) api.Check {
	return api.Check{Name: name, Status: Pass, Reason: fmt.Sprintf(format, args...)}
}

func warn(name, remedy, format string, args ...any) api.Check {
	return api.Check{Name: name, Status: Warn, Reason: fmt.Sprintf(format, args...), Remedy: remedy}
}

func fail(name, remedy, format string, args ...any) api.Check {
	return api.Check{Name: name, Status: Fail, Reason: fmt.Sprintf(format, args...), Remedy: remedy}
}

// remedy is the hint that an error carries, or else.
func remedy(err error, otherwise string) string {
	if hint := errdefs.Hint(err); hint != "" {
		return hint
	}
	return otherwise
}
