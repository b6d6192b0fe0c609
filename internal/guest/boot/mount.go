package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/guest/blockdev"
	"github.com/banger-dev/banger/internal/guest/proto"
)

// filesystem is something to mount.
type filesystem struct {
	source, target, kind string
	flags                uintptr
	options              string
}

var (
	kernelFS = []filesystem{
		{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=755"},
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"sysfs", "/sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	}
	runFS = []filesystem{
		{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755,size=20%,nr_inodes=800k"},
	}
)

func mountAll(list []filesystem) error {
	for _, f := range list {
		if err := f.mount(); err != nil {
			return err
		}
	}
	return nil
}

// mount makes the mount point if need be. What is mounted already stays: the kernel may have done it.
func (f filesystem) mount() error {
	if err := os.MkdirAll(f.target, 0o755); err != nil {
		return fmt.Errorf("make mount point %s: %w", f.target, err)
	}
	err := unix.Mount(f.source, f.target, f.kind, f.flags, f.options)
	if err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount %s: %w", f.target, err)
	}
	return nil
}

// In the initramfs, below one directory so that the rest of it can be thrown away.
const (
	stage    = "/banger"
	lowerDir = stage + "/lower"
	upperDir = stage + "/upper"
	newRoot  = stage + "/root"
)

// WritableOptions are the ext4 options of disks that are sparse files on the host: what is deleted becomes a hole again,
// and inode tables, which are zeros from the start, are not written.
const WritableOptions = "discard,noinit_itable"

// mountRoot puts the root file system together at newRoot: the image below, the machine's own disk above. It returns the
// root directory of the latter.
func (m *Machine) mountRoot(ctx context.Context) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, diskWait)
	defer cancel()
	rootfs, err := blockdev.Wait(ctx, proto.SerialRootfs)
	if err != nil {
		return nil, err
	}
	overlay, err := blockdev.Wait(ctx, proto.SerialOverlay)
	if err != nil {
		return nil, err
	}
	if err := m.mountLower(rootfs); err != nil {
		return nil, err
	}
	if err := (filesystem{overlay, upperDir, "ext4", 0, WritableOptions}).mount(); err != nil {
		return nil, err
	}
	_, err = blockdev.Grow(overlay, upperDir)
	m.try("grow the overlay disk", err)
	for _, dir := range []string{"upper", "work", "volumes"} {
		if err := os.MkdirAll(filepath.Join(upperDir, dir), 0o755); err != nil {
			return nil, fmt.Errorf("lay out the overlay disk: %w", err)
		}
	}
	root := filesystem{
		"overlay", newRoot, "overlay", 0,
		"lowerdir=" + lowerDir + ",upperdir=" + upperDir + "/upper,workdir=" + upperDir + "/work",
	}
	if err := root.mount(); err != nil {
		return nil, err
	}
	disk, err := os.Open(upperDir)
	if err != nil {
		return nil, fmt.Errorf("open the overlay disk: %w", err)
	}
	return disk, nil
}

// mountLower mounts the image. One with a journal that was not closed cleanly can be read without it.
func (m *Machine) mountLower(dev string) error {
	f := filesystem{dev, lowerDir, "ext4", unix.MS_RDONLY, ""}
	err := f.mount()
	if !errors.Is(err, unix.EROFS) {
		return err
	}
	f.options = "noload"
	if err := f.mount(); err != nil {
		return err
	}
	m.try("replay the image's journal", errors.New("the image is read-only, so what its journal holds is missing"))
	return nil
}

// mountModules mounts the kernel's modules where modprobe looks for them.
func (m *Machine) mountModules() error {
	dev, err := blockdev.Find(proto.SerialModules)
	if err != nil || dev == "" {
		return err
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return err
	}
	// /lib is a link to usr/lib in most images; where it is not, modprobe wants it this way, too.
	target := filepath.Join("/lib/modules", unix.ByteSliceToString(uts.Release[:]))
	return filesystem{dev, target, "ext4", unix.MS_RDONLY, ""}.mount()
}

// volume is a directory that is on the overlay disk itself: container engines cannot put an overlay on an overlay.
type volume struct {
	path string
	name string // below volumes on the disk
	mode fs.FileMode
}

var volumes = []volume{
	{"/var/lib/docker", "docker", 0o710},
	{"/var/lib/containerd", "containerd", 0o711},
	{"/var/lib/containers", "containers", 0o755},
}

// mountVolume binds v, unless the image has files there, which that would hide.
func (m *Machine) mountVolume(v volume) error {
	if has, err := hasFiles(v.path); err != nil {
		return err
	} else if has {
		return errors.New("the image has files there; container engines will find an overlay")
	}
	source := filepath.Join(OverlayDir, "volumes", v.name)
	if err := os.Mkdir(source, v.mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return filesystem{source, v.path, "", unix.MS_BIND, ""}.mount()
}

var errStop = errors.New("stop")

// hasFiles tells whether there is anything but directories below dir.
func hasFiles(dir string) (bool, error) {
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case !d.IsDir():
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return true, nil
	}
	return false, err
}
