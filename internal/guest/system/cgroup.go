package system

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const cgroupRoot = "/sys/fs/cgroup"

// ExecCgroup makes the control group for commands, below the agent's own, and returns its directory. Without control
// groups of version 2 it returns "".
func ExecCgroup() (string, error) {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.procs")); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("find the agent's control group: %w", err)
	}
	own, ok := unified(string(b))
	if !ok {
		return "", nil
	}
	dir := filepath.Join(cgroupRoot, own, "banger-exec")
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make control group: %w", err)
	}
	return dir, nil
}

// unified finds the path in the version 2 hierarchy in what cgroups(7) says of /proc/PID/cgroup.
func unified(text string) (string, bool) {
	for line := range strings.Lines(text) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path, true
		}
	}
	return "", false
}

// Protect keeps the OOM killer from this process, as far as it may.
func Protect() error {
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0); err != nil {
		return fmt.Errorf("protect the agent from the OOM killer: %w", err)
	}
	return nil
}
