package doctor

import (
	"context"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/userns"
)

// Host is how the checks look at the host, beside its files. Functions that are nil look at this host.
type Host struct {
	LookPath   func(name string) (string, error)
	Namespaces func(ctx context.Context) error  // nil: a program can be root in namespaces of its own
	Free       func(path string) (int64, error) // bytes that the user may still write to path's file system
	Getenv     func(name string) string
	UID        func() int
	Cgroups    string // where cgroups are mounted
	SelfCgroup string // the file that names the process's own
}

func (h Host) orReal() Host {
	if h.LookPath == nil {
		h.LookPath = exec.LookPath
	}
	if h.Namespaces == nil {
		h.Namespaces = userns.Check
	}
	if h.Free == nil {
		h.Free = free
	}
	if h.Getenv == nil {
		h.Getenv = os.Getenv
	}
	if h.UID == nil {
		h.UID = os.Geteuid
	}
	if h.Cgroups == "" {
		h.Cgroups = "/sys/fs/cgroup"
	}
	if h.SelfCgroup == "" {
		h.SelfCgroup = "/proc/self/cgroup"
	}
	return h
}

func free(path string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	return int64(s.Bavail) * s.Frsize, nil
}
