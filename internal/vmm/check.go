package vmm

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/errdefs"
)

const (
	maxSerial = 20       // virtio's VIRTIO_BLK_ID_BYTES
	minMemory = 64 << 20 // below, no stock kernel unpacks itself
)

var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// Check finds the mistakes that VMMs report late or in words that help nobody. Every driver calls it in Prepare.
func (c Config) Check() error {
	switch {
	case !validID.MatchString(c.ID):
		return errdefs.New(errdefs.ErrInvalid, "machine id %q: must be letters, digits, '_', '.' and '-'", c.ID)
	case !filepath.IsAbs(c.Dir):
		return errdefs.New(errdefs.ErrInvalid, "directory %q: must be an absolute path", c.Dir)
	case c.VCPU < 1:
		return errdefs.New(errdefs.ErrInvalid, "vcpu %d: must be at least 1", c.VCPU)
	case c.Memory < minMemory:
		return errdefs.New(errdefs.ErrInvalid, "memory %d bytes: must be at least %d MiB", c.Memory, minMemory>>20)
	}
	if err := checkMemory(c.Memory); err != nil {
		return err
	}
	if c.MAC != "" {
		if _, err := net.ParseMAC(c.MAC); err != nil {
			return errdefs.As(errdefs.ErrInvalid, err)
		}
	}
	if err := readable("kernel", c.Kernel.Vmlinux); err != nil {
		return err
	}
	if c.Kernel.Initrd != "" {
		if err := readable("initramfs", c.Kernel.Initrd); err != nil {
			return err
		}
	}
	return checkDisks(c.Disks)
}

func checkDisks(disks []Disk) error {
	for _, disk := range disks {
		if len(disk.Serial) > maxSerial {
			return errdefs.New(errdefs.ErrInvalid, "disk serial %q: must be at most %d bytes", disk.Serial, maxSerial)
		}
		if err := readable("disk", disk.Path); err != nil {
			return err
		}
	}
	return nil
}

func checkMemory(want int64) error {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return os.NewSyscallError("sysinfo", err)
	}
	if total := int64(info.Totalram) * int64(info.Unit); want > total {
		err := errdefs.New(errdefs.ErrExhausted, "memory %d MiB: the host has %d MiB", want>>20, total>>20)
		return errdefs.WithHint(err, "ask for less memory")
	}
	return nil
}

// readable checks that path is absolute and can be opened. The error of os.Open names the path.
func readable(what, path string) error {
	if !filepath.IsAbs(path) {
		return errdefs.New(errdefs.ErrInvalid, "%s %q: must be an absolute path", what, path)
	}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return errdefs.New(errdefs.ErrNotFound, "%s: %w", what, err)
	case err != nil:
		return errdefs.New(errdefs.ErrUnavailable, "%s: %w", what, err)
	}
	return f.Close()
}
