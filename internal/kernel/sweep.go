package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/op"
)

// Sweep makes records and files agree after a crash: it removes files without a record, records without files, and
// initramfs that no kernel or agent needs. The daemon calls it before it serves. A kernel that lost its files while VMs
// use it keeps its record, and Boot says what is wrong.
func (s *Service) Sweep(ctx context.Context) error {
	s.publication.Lock()
	defer s.publication.Unlock()
	all, err := s.records.Kernels(ctx)
	if err != nil {
		return fmt.Errorf("sweep kernels: %w", err)
	}
	var errs []error
	for _, k := range all {
		if !lost(k) {
			continue
		}
		err := s.records.DeleteKernel(ctx, k.ID)
		if err == nil || errors.Is(err, errdefs.ErrInUse) {
			op.Warn(ctx, fmt.Sprintf("kernel %s has lost its files", k.Name))
			continue
		}
		errs = append(errs, err)
	}
	errs = append(errs, s.removeUnrecorded(ctx), removeOthers(s.initramfsDir(), complete))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("sweep kernels: %w", err)
	}
	return nil
}

func lost(k api.Kernel) bool {
	_, err := os.Stat(k.Vmlinux.Path)
	return errors.Is(err, fs.ErrNotExist)
}

// removeUnrecorded removes kernels' directories and initramfs that belong to no record. The caller holds publication.
func (s *Service) removeUnrecorded(ctx context.Context) error {
	all, err := s.records.Kernels(ctx)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, k := range all {
		known[k.ID] = true
	}
	agent, err := s.agent.sum()
	if err != nil {
		agent = "" // no initramfs can be made now; Boot says why
	}
	return errors.Join(
		removeOthers(s.dirs.Kernels(), func(name string) bool { return known[name] }),
		removeOthers(s.initramfsDir(), func(name string) bool {
			id, rest, _ := strings.Cut(name, "-")
			return !complete(name) || known[id] && (agent == "" || rest == initrdSuffix(agent))
		}),
	)
}

// complete reports whether a file among the initramfs is more than one that is being made.
func complete(name string) bool { return !strings.HasPrefix(name, ".") }

// removeOthers removes what is in dir, but for the names that keep is true for.
func removeOthers(dir string, keep func(name string) bool) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if !keep(e.Name()) {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
