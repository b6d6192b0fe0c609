package vm

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/config"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/names"
	"github.com/banger-dev/banger/internal/proc"
	"github.com/banger-dev/banger/internal/size"
	"github.com/banger-dev/banger/internal/store"
)

// Bounds of what can be asked for.
const (
	maxVCPU   = 256
	minMemory = 64 << 20
	minDisk   = 16 << 20
	maxDisk   = 16 << 40
	diskUnit  = 1 << 20 // disk sizes are rounded up to it
	maxText   = 64 << 10
)

// complete fills what spec leaves open from the configuration.
func complete(spec api.VMSpec, c config.Config) api.VMSpec {
	spec.Image = or(spec.Image, c.Image)
	spec.VCPU = or(spec.VCPU, c.VCPU)
	spec.Memory = or(spec.Memory, c.Memory)
	spec.DiskSize = roundUp(or(spec.DiskSize, c.DiskSize))
	spec.OverlaySize = roundUp(or(spec.OverlaySize, c.OverlaySize))
	spec.Net = or(spec.Net, c.Net)
	return spec
}

func or[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

func roundUp(size int64) int64 {
	if size < 0 || size > maxDisk {
		return size // refused later
	}
	return (size + diskUnit - 1) / diskUnit * diskUnit
}

// validate checks a completed spec. The errors are errdefs.ErrInvalid.
func validate(spec api.VMSpec) error {
	if spec.Name != "" {
		if err := names.Validate("vm", spec.Name); err != nil {
			return err
		}
	}
	for _, bound := range []struct {
		what     string
		value    int64
		min, max int64
	}{
		{"vcpu", int64(spec.VCPU), 1, maxVCPU},
		{"memory", spec.Memory, minMemory, maxDisk},
		{"disk size", spec.DiskSize, minDisk, maxDisk},
		{"overlay size", spec.OverlaySize, minDisk, maxDisk},
	} {
		if bound.value < bound.min || bound.value > bound.max {
			show := size.Format
			if bound.what == "vcpu" {
				show = func(n int64) string { return strconv.FormatInt(n, 10) }
			}
			return errdefs.New(errdefs.ErrInvalid, "%s %s is not between %s and %s",
				bound.what, show(bound.value), show(bound.min), show(bound.max))
		}
	}
	switch spec.Net {
	case "public", "full", "none":
	default:
		return errdefs.WithHint(errdefs.New(errdefs.ErrInvalid, "network mode %q: unknown", spec.Net), "use public, full or none")
	}
	return validateText(spec)
}

func validateText(spec api.VMSpec) error {
	total := len(spec.Workdir)
	for _, e := range spec.Env {
		key, _, ok := strings.Cut(e, "=")
		if !ok || key == "" || strings.ContainsRune(e, 0) {
			return errdefs.New(errdefs.ErrInvalid, "environment entry %q is not KEY=VALUE", e)
		}
		total += len(e)
	}
	for k, v := range spec.Labels {
		if k == "" || strings.ContainsFunc(k+v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return errdefs.New(errdefs.ErrInvalid, "label %q=%q: control bytes or no key", k, v)
		}
		total += len(k) + len(v)
	}
	if spec.Workdir != "" && (!path.IsAbs(spec.Workdir) || strings.ContainsRune(spec.Workdir, 0)) {
		return errdefs.New(errdefs.ErrInvalid, "working directory %q is not an absolute path", spec.Workdir)
	}
	if total > maxText {
		return errdefs.New(errdefs.ErrInvalid, "environment and labels have %d bytes, more than %d", total, maxText)
	}
	return nil
}

// newRecord is the record of a new VM, marked as one that is being deleted until it is whole: should the service be
// killed while it makes the disks, the next one removes what there is.
func newRecord(spec api.VMSpec, image api.Image, k api.Kernel) (store.VMRecord, error) {
	r := store.VMRecord{KernelID: k.ID, Deleting: true, VM: api.VM{
		ID: newID(), Name: spec.Name, State: api.StateCreated, Image: image.Name, ImageID: image.ID, Kernel: k.Name,
		VCPU: spec.VCPU, Memory: spec.Memory, DiskSize: spec.DiskSize, OverlaySize: spec.OverlaySize, Net: spec.Net,
		Env: spec.Env, Workdir: spec.Workdir, Labels: spec.Labels, AutoRemove: spec.AutoRemove, CreatedAt: time.Now(),
	}}
	if spec.OwnerPID == 0 {
		return r, nil
	}
	if !spec.AutoRemove {
		return r, errdefs.New(errdefs.ErrInvalid, "an owner is for a vm that is removed when it stops")
	}
	var err error
	r.OwnerPID = spec.OwnerPID
	r.OwnerStart, err = ownerStart(spec.OwnerPID)
	return r, err
}

// ownerStart returns when the process started that a VM is to belong to.
func ownerStart(pid int) (uint64, error) {
	uid, err := proc.Owner(pid)
	if err == nil && uid != os.Geteuid() {
		err = errdefs.New(errdefs.ErrInvalid, "process %d is another user's", pid)
	}
	if err != nil {
		return 0, errdefs.New(errdefs.ErrInvalid, "owner: %w", err)
	}
	start, err := proc.StartTime(pid)
	if err != nil {
		return 0, errdefs.New(errdefs.ErrInvalid, "owner: %w", err)
	}
	return start, nil
}

func newID() string {
	var id [6]byte
	_, _ = rand.Read(id[:]) // crypto/rand.Read never fails
	return hex.EncodeToString(id[:])
}
