package pid1

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/guest/netlink"
)

// mounts are those that an init makes besides what the boot made.
var mounts = []struct {
	source, target, kind string
	flags                uintptr
	options              string
}{
	{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "gid=5,mode=620,ptmxmode=666"},
	{"tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	{"mqueue", "/dev/mqueue", "mqueue", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"cgroup2", "/sys/fs/cgroup", "cgroup2", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, "nsdelegate,memory_recursiveprot"},
}

// links are what udev makes elsewhere.
var links = map[string]string{
	"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
}

// settings are those of systemd's and the distributions' sysctl.d.
var settings = map[string]string{
	"/proc/sys/net/ipv4/ping_group_range": "0 2147483647", // ping works for every user
	"/proc/sys/fs/protected_hardlinks":    "1",
	"/proc/sys/fs/protected_symlinks":     "1",
	"/proc/sys/kernel/pid_max":            "4194304",
}

// directories that programs expect to exist.
var directories = map[string]fs.FileMode{
	"/tmp": 0o777 | fs.ModeSticky, "/run/lock": 0o777 | fs.ModeSticky, "/var/tmp": 0o777 | fs.ModeSticky,
}

const (
	softFiles = 1024 // what select(2) can take; programs that can take more raise it
	hardFiles = 512 << 10
)

// setUp makes the machine what programs expect. An image may lack anything, so it goes on after errors.
func setUp() (errs []error) {
	try := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	for _, m := range mounts {
		try("mount "+m.target, mount(m.source, m.target, m.kind, m.flags, m.options))
	}
	for link, target := range links {
		if err := os.Symlink(target, link); !errors.Is(err, fs.ErrExist) {
			try("link "+link, err)
		}
	}
	for dir, mode := range directories {
		try("make "+dir, makeDir(dir, mode))
	}
	for file, value := range settings {
		if err := os.WriteFile(file, []byte(value), 0); !errors.Is(err, fs.ErrNotExist) {
			try("set "+file, err)
		}
	}
	try("delegate control groups", delegate("/sys/fs/cgroup"))
	try("bring the loopback up", loopbackUp())
	try("limit open files", syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: softFiles, Max: hardFiles}))
	return errs
}

func mount(source, target, kind string, flags uintptr, options string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, target, kind, flags, options); err != nil && !errors.Is(err, unix.EBUSY) {
		return err
	}
	return nil
}

// makeDir makes a directory that the image lacks. What is there, a link too, stays as it is.
func makeDir(dir string, mode fs.FileMode) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.Chmod(dir, mode)
}

// delegate lets the groups below dir use every controller there is.
func delegate(dir string) error {
	b, err := os.ReadFile(dir + "/cgroup.controllers")
	if err != nil {
		return err
	}
	var enable []string
	for _, c := range strings.Fields(string(b)) {
		enable = append(enable, "+"+c)
	}
	return os.WriteFile(dir+"/cgroup.subtree_control", []byte(strings.Join(enable, " ")), 0)
}

func loopbackUp() error {
	c, err := netlink.Dial()
	if err != nil {
		return err
	}
	defer c.Close()
	const loopback = 1 // in every network namespace
	return c.SetLinkUp(loopback, 0)
}
