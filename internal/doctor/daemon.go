package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/banger-dev/banger/api"
)

// daemon checks the daemon and the socket by which it is reached.
func daemon(ctx context.Context, o Options) []api.Check {
	const name = "daemon"
	v, err := o.Daemon(ctx)
	if err != nil {
		return []api.Check{fail(name, remedy(err, "look into "+o.Dirs.DaemonLog()), "%v", err)}
	}
	if v.Build != o.Build {
		return []api.Check{
			warn(name, "none is needed: the next command replaces it; running VMs stay",
				"process %d is of another build (version %s)", v.PID, v.Version),
			socket(o),
		}
	}
	return []api.Check{pass(name, "process %d, version %s", v.PID, v.Version), socket(o)}
}

func socket(o Options) api.Check {
	const name = "socket"
	info, err := os.Stat(o.Dirs.Socket())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail(name, "run: banger daemon stop; the next command starts another",
			"%s is gone: the daemon cannot be reached any more", o.Dirs.Socket())
	case err != nil:
		return fail(name, "", "%v", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fail(name, "move it away", "%s is not a socket", o.Dirs.Socket())
	case info.Mode().Perm()&0o077 != 0:
		return warn(name, "run: chmod 600 "+o.Dirs.Socket(), "%s has mode %04o", o.Dirs.Socket(), info.Mode().Perm())
	default:
		return pass(name, "%s", o.Dirs.Socket())
	}
}

// records checks that the store can be read.
func records(ctx context.Context, o Options) []api.Check {
	const name = "store"
	if o.Records == nil && o.StoreErr == nil {
		return []api.Check{warn(name, "see the daemon's check", "not looked at: the daemon reads it")}
	}
	if o.Records == nil {
		return []api.Check{fail(name, remedy(o.StoreErr, "look into "+o.Dirs.DaemonLog()), "%v", o.StoreErr)}
	}
	images, err := o.Records.Images(ctx)
	if err != nil {
		return []api.Check{fail(name, remedy(err, "look into "+o.Dirs.DaemonLog()), "%v", err)}
	}
	kernels, err := o.Records.Kernels(ctx)
	if err != nil {
		return []api.Check{fail(name, remedy(err, "look into "+o.Dirs.DaemonLog()), "%v", err)}
	}
	return []api.Check{pass(name, "%s: %s, %s", o.Dirs.Database(),
		countOf(len(images), "image", "images"), countOf(len(kernels), "kernel", "kernels"))}
}
