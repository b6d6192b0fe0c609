package kernel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/image/bundle"
	"github.com/banger-dev/banger/internal/image/catalog"
	"github.com/banger-dev/banger/internal/kernel/apt"
	"github.com/banger-dev/banger/internal/op"
	"github.com/banger-dev/banger/internal/publish"
)

// distributed is what can be pulled by name whatever the catalogs have.
var distributed = map[string]func(ctx context.Context, staging *publish.Staging) (source, error){
	"debian-cloud": fromApt,
}

// Available returns what Pull takes, by name: the distribution's kernels, which nothing in a catalog replaces, and the
// bundles of the catalogs.
func (s *Service) Available(ctx context.Context) ([]api.KernelOffer, error) {
	var all []api.KernelOffer
	for name := range distributed {
		all = append(all, api.KernelOffer{Name: name, Arch: arch, Description: "Debian's signed cloud kernel, through apt"})
	}
	if s.bundles != nil {
		entries, err := s.bundles.Available(ctx, bundle.KindKernel)
		if err != nil {
			return nil, fmt.Errorf("list kernels: %w", err)
		}
		for _, e := range entries {
			if distributed[e.Name] == nil {
				all = append(all, api.KernelOffer{
					Name: e.Name, Distro: e.Distro, Arch: e.Arch, Version: e.Version, Description: e.Description, Source: e.Catalog,
				})
			}
		}
	}
	slices.SortFunc(all, func(a, b api.KernelOffer) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// fetcher returns what fetches the kernel of a name, or errdefs.ErrNotFound.
func (s *Service) fetcher(ctx context.Context, name string) (fetcher, error) {
	if fetch, ok := distributed[name]; ok {
		return fetch, nil
	}
	notFound := errdefs.WithHint(errdefs.New(errdefs.ErrNotFound, "no catalog has it"),
		"debian-cloud is always there; banger kernel list --available shows all; banger kernel import takes files")
	if s.bundles == nil {
		return nil, notFound
	}
	entry, err := s.bundles.Lookup(ctx, bundle.KindKernel, name)
	if errors.Is(err, errdefs.ErrNotFound) {
		err = notFound
	}
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, staging *publish.Staging) (source, error) {
		return s.fromBundle(ctx, entry, staging)
	}, nil
}

// Pull makes the kernel of a catalog name. One that is there already is returned as it is, unless req.Force asks for the
// newest. Of two pulls of one name the second waits and uses what the first made.
func (s *Service) Pull(ctx context.Context, req api.KernelPull) (api.Kernel, error) {
	fetch, err := s.fetcher(ctx, req.Name)
	if err != nil {
		return api.Kernel{}, fmt.Errorf("pull kernel %q: %w", req.Name, err)
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

// Ensure returns the kernel that reference names. When there is none and reference is a name that Pull
// takes, it pulls it.
func (s *Service) Ensure(ctx context.Context, reference string) (api.Kernel, error) {
	k, err := s.Get(ctx, reference)
	if _, ok := distributed[reference]; ok && (err != nil || k.Name != reference) || errors.Is(err, errdefs.ErrNotFound) {
		pulled, failure := s.Pull(ctx, api.KernelPull{Name: reference})
		if errors.Is(failure, errdefs.ErrNotFound) {
			return k, err // the lookup's own words
		}
		return pulled, failure
	}
	return k, err
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

// fromBundle fetches the bundle of a catalog's entry into the staging directory. Its initrd is not needed: the agent is
// what boots.
func (s *Service) fromBundle(ctx context.Context, e catalog.Entry, staging *publish.Staging) (source, error) {
	tree := staging.Path(treeDir)
	if err := os.Mkdir(tree, 0o700); err != nil {
		return source{}, fmt.Errorf("unpack bundle: %w", err)
	}
	stage := op.Begin(ctx, "download bundle", e.Name)
	stage.Total(e.Size)
	stream, err := s.bundles.Open(ctx, e)
	if err != nil {
		return source{}, stage.End(err)
	}
	m, err := bundle.ReadKernel(ctx, io.TeeReader(stream, stage), e.SHA256, tree, bundle.Limits{})
	if err := stage.End(errors.Join(err, stream.Close())); err != nil {
		return source{}, err
	}
	src := source{distro: m.Distro, origin: "catalog:" + e.Name + " sha256:" + e.SHA256, vmlinux: filepath.Join(tree, bundle.VmlinuxFile)}
	if src.distro == "" {
		src.distro = e.Distro
	}
	modules := filepath.Join(tree, bundle.ModulesDir)
	if _, err := os.Stat(modules); err == nil {
		src.modules = modules
	}
	return src, nil
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
