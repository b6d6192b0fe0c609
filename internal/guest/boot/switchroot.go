package boot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// switchRoot makes root, a mount point in the initramfs, the root of everything and frees the initramfs, whose memory
// would be lost otherwise.
func switchRoot(root string) error {
	// They are mounted anew inside, where the image's own links lead to.
	for i := len(kernelFS) - 1; i >= 0; i-- {
		if err := unix.Unmount(kernelFS[i].target, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", kernelFS[i].target, err)
		}
	}
	if err := freeInitramfs(); err != nil {
		return fmt.Errorf("free the initramfs: %w", err)
	}
	if err := unix.Chdir(root); err != nil {
		return fmt.Errorf("enter %s: %w", root, err)
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move %s to /: %w", root, err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("change root: %w", err)
	}
	return unix.Chdir("/")
}

// freeInitramfs removes everything but the mount points in use.
func freeInitramfs() error {
	if err := inMemory("/"); err != nil {
		return err
	}
	entries, err := os.ReadDir("/")
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join("/", e.Name())
		if path == stage {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return nil
}

// inMemory refuses a root that is not an initramfs: what follows would delete a disk's content.
func inMemory(path string) error {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return err
	}
	if s.Type != unix.RAMFS_MAGIC && s.Type != unix.TMPFS_MAGIC {
		return errors.New("the root is not an initramfs")
	}
	return nil
}
