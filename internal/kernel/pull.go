package kernel

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/kernel/apt"
	"github.com/banger-dev/banger/internal/op"
	"github.com/banger-dev/banger/internal/publish"
)

// catalog is what can be pulled by name.
var catalog = map[string]func(ctx context.Context, staging *publish.Staging) (source, error){
	"debian-cloud": fromApt,
}

// Catalog returns the names that Pull takes, sorted.
func Catalog() []string {
	var all []string
	for name := range catalog {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// Pull makes the kernel of a catalog name. One that is there already is returned as it is, unless req.Force asks for the
// newest. Of two pulls of one name the second waits and uses what the first made.
func (s *Service) Pull(ctx context.Context, req api.KernelPull) (api.Kernel, error) {
	fetch, ok := catalog[req.Name]
	if !ok {
		return api.Kernel{}, errdefs.WithHint(
			errdefs.New(errdefs.ErrNotFound, "pull kernel %q: it is not in the catalog", req.Name),
			"the catalog has %s; banger kernel import takes files", strings.Join(Catalog(), ", "))
	}
	begun := time.Now()
	unlock, err := s.names.Lock(ctx, req.Name)
	if err != nil {
		return api.Kernel{}, fmt.Errorf("pull kernel %s: %w", req.Name, err)
	}
	defer unlock()
	old, err := s.named(ctx, req.Name)
	if err != nil {
		return api.Kernel{}, fmt.Errorf("pull kernel %s: %w", req.Name, err)
	}
	// One that appeared while this call waited is as new as it can be.
	if old != nil && (!req.Force || old.CreatedAt.After(begun)) {
		return *old, nil
	}
	k, err := s.make(ctx, req.Name, req.Force, fetch)
	if err != nil {
		return api.Kernel{}, fmt.Errorf("pull kernel %s: %w", req.Name, err)
	}
	return k, nil
}

// Ensure returns the kernel that reference names. When there is none and reference is a name of the catalog, it pulls it.
func (s *Service) Ensure(ctx context.Context, reference string) (api.Kernel, error) {
	if _, ok := catalog[reference]; ok {
		return s.Pull(ctx, api.KernelPull{Name: reference})
	}
	return s.Get(ctx, reference)
}

// named returns the kernel with exactly this name, or nil.
func (s *Service) named(ctx context.Context, name string) (*api.Kernel, error) {
	all, err := s.records.Kernels(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range all {
		if k.Name == name {
			return &k, nil
		}
	}
	return nil, nil
}

// fromApt fetches the distribution's kernel package into the staging directory.
func fromApt(ctx context.Context, staging *publish.Staging) (source, error) {
	stage := op.Begin(ctx, "resolve", strings.Join(apt.Metapackages, ", "))
	k, err := apt.Resolve(ctx, apt.Metapackages...)
	if err := stage.End(err); err != nil {
		return source{}, err
	}
	tree := staging.Path(treeDir)
	if err := os.Mkdir(tree, 0o700); err != nil {
		return source{}, fmt.Errorf("unpack packages: %w", err)
	}
	for _, p := range k.Packages {
		if err := fetch(ctx, p, staging.Path(p.Name), tree); err != nil {
			return source{}, err
		}
	}
	image := k.Packages[0]
	return source{
		distro:  distro(),
		origin:  fmt.Sprintf("apt:%s sha256:%s", image, image.SHA256),
		vmlinux: filepath.Join(tree, "boot", "vmlinuz-"+k.Release),
		config:  filepath.Join(tree, "boot", "config-"+k.Release),
		modules: filepath.Join(tree, "lib", "modules", k.Release),
	}, nil
}

// fetch downloads one package into dir, which it makes and removes, and unpacks it into tree.
func fetch(ctx context.Context, p apt.Package, dir, tree string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("download %s: %w", p, err)
	}
	deb, err := apt.Download(ctx, p, dir)
	if err != nil {
		return err
	}
	if err := apt.Unpack(ctx, deb, tree); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	return nil
}
