package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/fsutil"
	"github.com/banger-dev/banger/internal/names"
	"github.com/banger-dev/banger/internal/op"
	"github.com/banger-dev/banger/internal/store"
)

// Create makes a VM and its disks; it does not start it. A missing image or kernel is made first where there is a way.
// A Create that fails or is given up leaves nothing of the VM.
func (s *Service) Create(ctx context.Context, spec api.VMSpec) (api.VM, error) {
	vm, err := s.create(ctx, complete(spec, s.o.Config))
	if err != nil {
		return api.VM{}, fmt.Errorf("create vm%s: %w", subject(spec.Name), err)
	}
	return vm, nil
}

func subject(name string) string {
	if name == "" {
		return ""
	}
	return " " + name
}

func (s *Service) create(ctx context.Context, spec api.VMSpec) (api.VM, error) {
	if err := validate(spec); err != nil {
		return api.VM{}, err
	}
	if _, err := s.o.Driver.Describe(ctx); err != nil { // before minutes go into an image
		return api.VM{}, err
	}
	if err := s.nameIsFree(ctx, spec.Name); err != nil {
		return api.VM{}, err
	}
	image, err := s.o.Images.Ensure(ctx, spec.Image, spec.Pull)
	if err != nil {
		return api.VM{}, err
	}
	if seed := image.WorkSeed; seed != nil && spec.DiskSize < seed.Size {
		return api.VM{}, errdefs.WithHint(
			errdefs.New(errdefs.ErrInvalid, "disk size %d: the image's /root needs %d bytes", spec.DiskSize, seed.Size),
			"ask for a larger disk with --disk-size")
	}
	k, err := s.o.Kernels.Ensure(ctx, or(spec.Kernel, or(image.Kernel, s.o.Config.Kernel)))
	if err != nil {
		return api.VM{}, err
	}
	r, err := newRecord(spec, image, k)
	if err != nil {
		return api.VM{}, err
	}
	return s.build(ctx, r, image)
}

func (s *Service) nameIsFree(ctx context.Context, name string) error {
	all, err := s.o.Records.VMs(ctx)
	if err != nil {
		return err
	}
	for _, r := range all {
		if name != "" && r.Name == name {
			return errdefs.WithHint(errdefs.New(errdefs.ErrExists, "vm %q exists", name),
				"choose another name, or delete that one with `banger rm %s`", name)
		}
	}
	return nil
}

// build records the VM, makes its disks and then says in the record that it is whole.
func (s *Service) build(ctx context.Context, r store.VMRecord, image api.Image) (api.VM, error) {
	unlock, err := s.locks.Lock(ctx, r.ID)
	if err != nil {
		return api.VM{}, err
	}
	defer unlock()
	if r, err = s.put(ctx, r); err != nil {
		return api.VM{}, err
	}
	s.at("create.recorded")
	stage := op.Begin(ctx, "make disks", r.Name)
	err = s.makeDisks(ctx, r, image)
	s.at("create.disks")
	whole := r
	if stage.End(err) == nil {
		whole, err = s.edit(ctx, r.ID, func(r *store.VMRecord) { r.Deleting = false })
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		ctx, cancel := cleanup(ctx)
		defer cancel()
		return api.VM{}, errors.Join(err, s.erase(ctx, r.ID))
	}
	s.at("create.done")
	s.watchOwner(ctx, whole)
	return s.view(whole), nil
}

// put records a new VM, making up a name when it has none.
func (s *Service) put(ctx context.Context, r store.VMRecord) (store.VMRecord, error) {
	if r.Name != "" {
		return r, s.o.Records.PutVM(ctx, r)
	}
	for try := 0; ; try++ {
		r.Name = names.Generate()
		if try >= 10 { // most are taken
			r.Name += "-" + r.ID[:4]
		}
		err := s.o.Records.PutVM(ctx, r)
		if !errors.Is(err, errdefs.ErrExists) || try == 20 {
			return r, err
		}
	}
}

// erase removes a VM's files and then its record. It is idempotent.
func (s *Service) erase(ctx context.Context, id string) error {
	if id == "" {
		return errors.New("remove files: no id") // its directory would be that of all VMs
	}
	if err := os.RemoveAll(string(s.dir(id))); err != nil {
		return fmt.Errorf("remove files: %w", err)
	}
	if err := fsutil.SyncDir(filepath.Dir(string(s.dir(id)))); err != nil {
		return err
	}
	s.at("delete.files")
	return s.o.Records.DeleteVM(ctx, id)
}
