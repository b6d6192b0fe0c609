package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/guest/blockdev"
	"github.com/banger-dev/banger/internal/guest/boot"
	"github.com/banger-dev/banger/internal/guest/proto"
)

const (
	workDir  = "/root"
	diskWait = 10 * time.Second
)

// mountWorkDisk mounts the work disk, unless it is, and makes its file system as large as the disk.
func mountWorkDisk(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, diskWait)
	defer cancel()
	dev, err := blockdev.Wait(ctx, proto.SerialWork)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(workDir, 0o700); err != nil {
		return err
	}
	mounted, err := isMounted(dev, workDir)
	if err != nil {
		return err
	}
	if !mounted {
		if err := unix.Mount(dev, workDir, "ext4", 0, boot.WritableOptions); err != nil {
			return fmt.Errorf("mount %s at %s: %w", dev, workDir, err)
		}
	}
	_, err = blockdev.Grow(dev, workDir)
	return err
}

// isMounted tells whether the file system at dir is the one on dev.
func isMounted(dev, dir string) (bool, error) {
	var d, m unix.Stat_t
	if err := errors.Join(unix.Stat(dev, &d), unix.Stat(dir, &m)); err != nil {
		return false, err
	}
	return d.Rdev == m.Dev, nil
}
