package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/size"
)

// Room that an image build needs, and that a session with a few VMs is comfortable with, in bytes.
const (
	leastSpace = 2 << 30
	goodSpace  = 10 << 30
)

// directories checks banger's own.
func directories(_ context.Context, o Options) []api.Check {
	var found []api.Check
	for _, d := range []struct {
		name, path string
		private    bool
	}{
		{"config", o.Dirs.Config, false},
		{"state", o.Dirs.State, true},
		{"cache", o.Dirs.Cache, true},
		{"runtime", o.Dirs.Runtime, true},
	} {
		found = append(found, directory(o, "directory "+d.name, d.path, d.private))
	}
	return found
}

func directory(o Options, name, path string, private bool) api.Check {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return missingDirectory(name, path)
	case err != nil:
		return fail(name, "make it accessible, or set BANGER_HOME to another directory", "%v", err)
	case !info.IsDir():
		return fail(name, "move it away", "%s is not a directory", path)
	}
	if uid := int(info.Sys().(*syscall.Stat_t).Uid); uid != o.Host.UID() {
		return fail(name, "run banger as the user who owns it, or set BANGER_HOME to another directory",
			"%s belongs to uid %d, not to uid %d", path, uid, o.Host.UID())
	}
	if mode := info.Mode().Perm(); private && mode&0o077 != 0 {
		return warn(name, "run: chmod 700 "+path, "%s has mode %04o: other users can look into it", path, mode)
	}
	if err := unix.Access(path, unix.W_OK|unix.X_OK); err != nil {
		return fail(name, "make it writable, or set BANGER_HOME to another directory", "%s cannot be written: %v", path, err)
	}
	return pass(name, "%s", path)
}

// missingDirectory is about one that the first use makes, if it can.
func missingDirectory(name, path string) api.Check {
	parent := existing(path)
	if err := unix.Access(parent, unix.W_OK|unix.X_OK); err != nil {
		return fail(name, "make it and give it to the user, or set BANGER_HOME to another directory",
			"%s does not exist and cannot be made in %s: %v", path, parent, err)
	}
	return pass(name, "%s will be made when it is needed", path)
}

// existing is the nearest directory at or above path that is there.
func existing(path string) string {
	for {
		if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
			return path
		}
		path = filepath.Dir(path)
	}
}

// space checks the room where images and disks go.
func space(_ context.Context, o Options) []api.Check {
	const name, more = "disk space", "free some, or set BANGER_HOME to a directory on a larger disk"
	path := existing(o.Dirs.State)
	n, err := o.Host.Free(path)
	switch {
	case err != nil:
		return []api.Check{warn(name, "", "%v", err)}
	case n < leastSpace:
		return []api.Check{fail(name, more, "%s left at %s: too little for an image", size.Format(n), path)}
	case n < goodSpace:
		return []api.Check{warn(name, more, "%s left at %s: disks of VMs grow as they are written", size.Format(n), path)}
	default:
		return []api.Check{pass(name, "%s left at %s", size.Format(n), path)}
	}
}

// runtimeDirectory checks where sockets go.
func runtimeDirectory(_ context.Context, o Options) []api.Check {
	const name = "XDG runtime directory"
	dir := o.Host.Getenv("XDG_RUNTIME_DIR")
	switch {
	case o.Host.Getenv("BANGER_HOME") != "":
		return []api.Check{pass(name, "not used: BANGER_HOME is set")}
	case strings.HasPrefix(o.Dirs.Runtime, dir+"/") && dir != "":
		return []api.Check{pass(name, "%s", dir)}
	case dir == "":
		return []api.Check{pass(name, "not set: sockets are in %s", o.Dirs.Runtime)}
	default:
		return []api.Check{warn(name, "log in as this user rather than by su or sudo, or unset XDG_RUNTIME_DIR",
			"%s is not a directory of uid %d: sockets are in %s", dir, o.Host.UID(), o.Dirs.Runtime)}
	}
}

// staging looks for what a crash has left of unfinished work.
func staging(_ context.Context, o Options) []api.Check {
	const name = "staging"
	entries, err := os.ReadDir(o.Dirs.Staging())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return []api.Check{warn(name, "", "%v", err)}
	}
	var stale []string
	for _, e := range entries {
		if !inUse(filepath.Join(o.Dirs.Staging(), e.Name())) {
			stale = append(stale, e.Name())
		}
	}
	if len(stale) > 0 {
		return []api.Check{warn(name, "run: banger daemon stop; the next start removes it",
			"unfinished work of a process that is gone: %s", strings.Join(stale, ", "))}
	}
	return []api.Check{pass(name, "%s", countOf(len(entries), "operation in progress", "operations in progress"))}
}

// inUse tells whether a process holds the lock of a staging directory. One that cannot be looked at is left alone.
func inUse(path string) bool {
	dir, err := os.Open(path)
	if err != nil {
		return true
	}
	defer func() { _ = dir.Close() }() // read-only; this also gives the lock back
	return unix.Flock(int(dir.Fd()), unix.LOCK_SH|unix.LOCK_NB) != nil
}

func countOf(n int, one, many string) string {
	switch n {
	case 0:
		return "no " + many
	case 1:
		return "1 " + one
	default:
		return fmt.Sprintf("%d %s", n, many)
	}
}
