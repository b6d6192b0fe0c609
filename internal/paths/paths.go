// Package paths knows where banger keeps its files. Nothing of banger's lies outside of these directories.
package paths

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/banger-dev/banger/internal/errdefs"
)

// Dirs are banger's own directories, absolute.
type Dirs struct {
	Config  string // what the user writes
	State   string // what must not be lost: the store, images, kernels, VMs
	Cache   string // what can be made again
	Runtime string // sockets; gone after a reboot
}

// Resolve finds the directories from the environment, as the XDG base directory specification says, and makes nothing.
// BANGER_HOME puts all of them below one directory.
func Resolve() (Dirs, error) {
	if home := os.Getenv("BANGER_HOME"); home != "" {
		root, err := filepath.Abs(home)
		if err != nil {
			return Dirs{}, fmt.Errorf("resolve BANGER_HOME: %w", err)
		}
		return Dirs{
			Config:  filepath.Join(root, "config"),
			State:   filepath.Join(root, "state"),
			Cache:   filepath.Join(root, "cache"),
			Runtime: filepath.Join(root, "run"),
		}, nil
	}
	var d Dirs
	for _, v := range []struct {
		dir      *string
		variable string
		fallback string // below the user's home
	}{
		{&d.Config, "XDG_CONFIG_HOME", ".config"},
		{&d.State, "XDG_STATE_HOME", ".local/state"},
		{&d.Cache, "XDG_CACHE_HOME", ".cache"},
	} {
		base, err := base(v.variable, v.fallback)
		if err != nil {
			return Dirs{}, err
		}
		*v.dir = filepath.Join(base, "banger")
	}
	d.Runtime = filepath.Join(d.State, "run")
	if run := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(run) && ownedByUs(run) {
		d.Runtime = filepath.Join(run, "banger")
	}
	return d, nil
}

// base returns the directory that variable names, or the fallback below the user's home.
// The specification has relative values ignored.
func base(variable, fallback string) (string, error) {
	if dir := os.Getenv(variable); filepath.IsAbs(dir) {
		return dir, nil
	}
	home := os.Getenv("HOME")
	if !filepath.IsAbs(home) {
		return "", errdefs.WithHint(
			errdefs.New(errdefs.ErrUnavailable, "resolve directories: neither %s nor HOME is an absolute path", variable),
			"set HOME, or BANGER_HOME to a directory for all of banger's files")
	}
	return filepath.Join(home, fallback), nil
}

func ownedByUs(dir string) bool {
	info, err := os.Stat(dir)
	return err == nil && info.IsDir() && owner(info) == os.Geteuid()
}

func owner(info os.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }

// Make makes the directories that are missing, with mode 0700. A directory of another user's is errdefs.ErrUnavailable.
// Those that others could read are closed to them, but for the configuration's, which may be shared on purpose.
func (d Dirs) Make() error {
	if err := makeDir(d.Config, false); err != nil {
		return err
	}
	for _, dir := range []string{d.State, d.Cache, d.Runtime, d.Images(), d.Kernels(), d.VMs(), d.Staging()} {
		if err := makeDir(dir, true); err != nil {
			return err
		}
	}
	return nil
}

func makeDir(dir string, private bool) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if uid := owner(info); uid != os.Geteuid() {
		return errdefs.WithHint(
			errdefs.New(errdefs.ErrUnavailable, "use directory %s: it belongs to uid %d, not to uid %d", dir, uid, os.Geteuid()),
			"run banger as the user who owns it, or set BANGER_HOME to another directory")
	}
	if private && info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return fmt.Errorf("make directory private: %w", err)
		}
	}
	return nil
}

// Socket is where the daemon listens.
func (d Dirs) Socket() string { return filepath.Join(d.Runtime, "banger.sock") }

// Database is the SQLite file of the store.
func (d Dirs) Database() string { return filepath.Join(d.State, "banger.db") }

// Images holds a directory for each image, named by its id.
func (d Dirs) Images() string { return filepath.Join(d.State, "images") }

// Kernels holds a directory for each kernel, named by its id.
func (d Dirs) Kernels() string { return filepath.Join(d.State, "kernels") }

// VMs holds a directory for each VM, named by its id.
func (d Dirs) VMs() string { return filepath.Join(d.State, "vms") }

// Staging holds what is being made, on the file system of what has been made.
func (d Dirs) Staging() string { return filepath.Join(d.State, "staging") }

// DaemonLog is the daemon's log file.
func (d Dirs) DaemonLog() string { return filepath.Join(d.State, "daemon.log") }

// DaemonLock is held by the one daemon that uses State.
func (d Dirs) DaemonLock() string { return filepath.Join(d.State, "daemon.lock") }

// ConfigFile is the user's configuration.
func (d Dirs) ConfigFile() string { return filepath.Join(d.Config, "config.toml") }
