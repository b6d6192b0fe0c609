package system

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/guest/uevent"
)

// OpenPort waits for the virtio-serial port that leads to the host and opens it. The kernel numbers ports as it likes,
// so it is found by name. One process at a time can have it open.
func OpenPort(ctx context.Context) (*os.File, error) {
	var dev string
	err := uevent.Wait(ctx, func() (bool, error) {
		var err error
		dev, err = findPort("/sys/class/virtio-ports", "/dev", proto.Port)
		return dev != "", err
	})
	if err != nil {
		return nil, fmt.Errorf("wait for port %s: %w", proto.Port, err)
	}
	f, err := os.OpenFile(dev, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open port %s: %w", proto.Port, err)
	}
	return f, nil
}

func findPort(sys, dev, name string) (string, error) {
	names, err := filepath.Glob(filepath.Join(sys, "*", "name"))
	if err != nil {
		return "", err
	}
	for _, file := range names {
		b, err := os.ReadFile(file)
		if err != nil || strings.TrimSpace(string(b)) != name {
			continue // it may have gone meanwhile
		}
		node := filepath.Join(dev, filepath.Base(filepath.Dir(file)))
		if _, err := os.Stat(node); err == nil {
			return node, nil
		}
	}
	return "", nil
}
