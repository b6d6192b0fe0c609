package doctor

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/api"
)

// cgroups tells whether VMs could be given limits of their own. Nothing needs it: a VM is bounded by its memory and
// CPUs as it is.
func cgroups(_ context.Context, o Options) []api.Check {
	const name = "cgroup delegation"
	const without = "none is needed; log in with systemd, whose user sessions have a cgroup of their own, to get it"
	if _, err := os.Stat(filepath.Join(o.Host.Cgroups, "cgroup.controllers")); err != nil {
		return []api.Check{warn(name, without, "no unified cgroup hierarchy at %s", o.Host.Cgroups)}
	}
	own, err := ownCgroup(o.Host.SelfCgroup)
	if err != nil {
		return []api.Check{warn(name, without, "%v", err)}
	}
	dir := filepath.Join(o.Host.Cgroups, own)
	if err := unix.Access(filepath.Join(dir, "cgroup.subtree_control"), unix.W_OK); err != nil {
		return []api.Check{warn(name, without, "%s is not the user's: %v", dir, err)}
	}
	controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return []api.Check{warn(name, without, "%v", err)}
	}
	return []api.Check{pass(name, "%s with %s", dir, strings.Join(strings.Fields(string(controllers)), ", "))}
}

// ownCgroup finds the process's cgroup of the unified hierarchy (cgroups(7)).
func ownCgroup(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // read-only
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if dir, ok := strings.CutPrefix(lines.Text(), "0::"); ok {
			return dir, nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	return "", fmt.Errorf("%s names no cgroup of the unified hierarchy", path)
}
