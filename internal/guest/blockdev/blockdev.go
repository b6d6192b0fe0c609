// Package blockdev finds a guest's disks by the serial numbers that the host gave them and grows the file systems on them.
package blockdev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/banger-dev/banger/internal/guest/uevent"
)

// Find returns the device file of the disk with that serial number, or "" when there is none.
func Find(serial string) (string, error) { return find("/sys/block", "/dev", serial) }

func find(sys, dev, serial string) (string, error) {
	disks, err := os.ReadDir(sys)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("list disks: %w", err)
	}
	for _, d := range disks {
		b, err := os.ReadFile(filepath.Join(sys, d.Name(), "serial"))
		if err != nil {
			continue // most kinds of disks have none
		}
		if strings.TrimRight(string(b), "\x00\n") != serial {
			continue
		}
		// The node appears after the entry in /sys.
		node := filepath.Join(dev, d.Name())
		if _, err := os.Stat(node); errors.Is(err, fs.ErrNotExist) {
			return "", nil
		}
		return node, nil
	}
	return "", nil
}

// Wait returns the device file of the disk with that serial number as soon as it is there.
func Wait(ctx context.Context, serial string) (string, error) {
	var dev string
	err := uevent.Wait(ctx, func() (bool, error) {
		var err error
		dev, err = Find(serial)
		return dev != "", err
	})
	if err != nil {
		return "", fmt.Errorf("wait for disk %s: %w", serial, err)
	}
	return dev, nil
}
