package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/publish"
)

// publish moves a staged kernel into place and records it. Exactly one of these is true whenever the process or the power
// dies: the kernel is there with its record, or there is no record and Sweep removes the rest.
func (s *Service) publish(ctx context.Context, staging *publish.Staging, k api.Kernel, force bool) (api.Kernel, error) {
	target := s.dir(k.ID)
	s.publication.Lock()
	defer s.publication.Unlock()
	all, err := s.records.Kernels(ctx)
	if err != nil {
		return api.Kernel{}, err
	}
	for _, other := range all {
		switch {
		case other.ID == k.ID && other.Name == k.Name:
			return other, nil // the same content under the same name
		case other.ID == k.ID:
			return api.Kernel{}, errdefs.WithHint(
				errdefs.New(errdefs.ErrExists, "the same kernel is stored as %s already", other.Name),
				"use %s, or remove it first: banger kernel rm %s", other.Name, other.Name)
		case other.Name == k.Name && !force:
			return api.Kernel{}, taken(k.Name)
		}
	}
	// No record has this id: what is there was left by a crash between the rename and the record.
	if err := os.RemoveAll(target); err != nil {
		return api.Kernel{}, fmt.Errorf("remove what a crash left: %w", err)
	}
	if err := staging.Publish(target); err != nil {
		return api.Kernel{}, err
	}
	record := s.records.PutKernel
	if force {
		record = s.records.ReplaceKernel
	}
	if err := record(ctx, k); err != nil {
		return api.Kernel{}, errors.Join(err, os.RemoveAll(target))
	}
	if force {
		if err := s.removeUnrecorded(ctx); err != nil {
			return api.Kernel{}, fmt.Errorf("remove the kernel that was replaced: %w", err)
		}
	}
	return k, nil
}

// at returns k with the paths of its files in dir.
func at(k api.Kernel, dir string) api.Kernel {
	k.Vmlinux.Path = filepath.Join(dir, vmlinuxFile)
	if k.Modules != nil {
		modules := *k.Modules
		modules.Path = filepath.Join(dir, modulesFile)
		k.Modules = &modules
	}
	return k
}
