// Package kernel is the kernel service: it takes kernels from the distribution's packages, from this host or from
// files, and keeps of each an ELF vmlinux, the first part of an initramfs and a disk of modules.
package kernel

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/image/catalog"
	"github.com/banger-dev/banger/internal/keylock"
	"github.com/banger-dev/banger/internal/paths"
	"github.com/banger-dev/banger/internal/ref"
)

// Records is where the service keeps what kernels exist; see package store for the methods' errors.
type Records interface {
	Kernels(ctx context.Context) ([]api.Kernel, error)
	PutKernel(ctx context.Context, k api.Kernel) error
	ReplaceKernel(ctx context.Context, k api.Kernel) error
	DeleteKernel(ctx context.Context, id string) error
}

// Options are what a Service needs.
type Options struct {
	Dirs      paths.Dirs
	Records   Records
	AgentPath string           // the guest agent's executable
	Catalog   *catalog.Catalog // of bundles; nil: none
}

// Service keeps kernels. Its methods may be called at the same time.
type Service struct {
	dirs    paths.Dirs
	records Records
	agent   agentFile
	bundles *catalog.Catalog

	names keylock.Locks // held while a kernel of a name is made
	boots keylock.Locks // held while an initramfs is made, by its path

	// publication is held to check names, rename directories and change records, and for nothing that takes long.
	publication sync.Mutex
}

// New returns the service. It makes no directory; see paths.Dirs.Make.
func New(o Options) *Service {
	return &Service{dirs: o.Dirs, records: o.Records, agent: agentFile{path: o.AgentPath}, bundles: o.Catalog}
}

// List returns all kernels, by name.
func (s *Service) List(ctx context.Context) ([]api.Kernel, error) {
	all, err := s.records.Kernels(ctx)
	if err != nil {
		return nil, fmt.Errorf("list kernels: %w", err)
	}
	return all, nil
}

// Get returns the kernel that reference names: by name, id, or a unique prefix of either.
func (s *Service) Get(ctx context.Context, reference string) (api.Kernel, error) {
	all, err := s.List(ctx)
	if err != nil {
		return api.Kernel{}, err
	}
	return ref.Resolve("kernel", all, func(k api.Kernel) (id, name string) { return k.ID, k.Name }, reference)
}

// Remove deletes a kernel and returns what it was. It is errdefs.ErrInUse while a VM or an image uses it.
func (s *Service) Remove(ctx context.Context, reference string) (api.Kernel, error) {
	k, err := s.Get(ctx, reference)
	if err != nil {
		return api.Kernel{}, err
	}
	s.publication.Lock()
	defer s.publication.Unlock()
	if err := s.records.DeleteKernel(ctx, k.ID); err != nil {
		return api.Kernel{}, fmt.Errorf("remove kernel %s: %w", k.Name, err)
	}
	// The record is gone: from here on a failure leaves files that Sweep removes.
	if err := s.removeFiles(k.ID); err != nil {
		return api.Kernel{}, fmt.Errorf("remove kernel %s: %w", k.Name, err)
	}
	return k, nil
}

// dir is where a kernel's files are.
func (s *Service) dir(id string) string { return filepath.Join(s.dirs.Kernels(), id) }

// removeFiles deletes a kernel's directory and what was made from it.
func (s *Service) removeFiles(id string) error {
	if err := os.RemoveAll(s.dir(id)); err != nil {
		return err
	}
	made, err := filepath.Glob(filepath.Join(s.initramfsDir(), id+"-*"))
	if err != nil {
		return err
	}
	for _, file := range made {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	return nil
}
