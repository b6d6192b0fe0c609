package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/banger-dev/banger/internal/httpapi"
	"github.com/banger-dev/banger/internal/image"
	"github.com/banger-dev/banger/internal/image/catalog"
	"github.com/banger-dev/banger/internal/image/oci"
	"github.com/banger-dev/banger/internal/image/recipe"
	"github.com/banger-dev/banger/internal/kernel"
	"github.com/banger-dev/banger/internal/store"
	"github.com/banger-dev/banger/internal/version"
	"github.com/banger-dev/banger/internal/vm"
	"github.com/banger-dev/banger/internal/vmm/qemu"
)

// services are the daemon's parts, wired.
type services struct {
	store   *store.Store
	images  *image.Service
	kernels *kernel.Service
	puller  *oci.Puller
	vms     *vm.Service
	options Options
}

// open opens the store and wires the services.
func open(ctx context.Context, o Options) (*services, error) {
	records, err := store.Open(ctx, o.Dirs.Database())
	if err != nil {
		return nil, err
	}
	bundles, err := catalog.New(catalog.Options{Sources: o.Config.Catalogs, CacheDir: filepath.Join(o.Dirs.Cache, "catalogs"), Log: o.Log})
	if err != nil {
		return nil, errors.Join(err, records.Close())
	}
	puller := oci.New(oci.Options{CacheDir: filepath.Join(o.Dirs.Cache, "oci"), Log: o.Log, UserAgent: "banger/" + version.Version})
	images := image.New(image.Options{
		Dirs: o.Dirs, Records: records, Recipes: recipe.All(recipe.Options{DebianMirror: o.Config.DebianMirror}), Log: o.Log,
		Puller: puller, Catalog: bundles,
	})
	kernels := kernel.New(kernel.Options{Dirs: o.Dirs, Records: records, AgentPath: agentPath(o), Catalog: bundles})
	return &services{
		store: records, images: images, kernels: kernels, puller: puller, options: o,
		vms: vm.New(vm.Options{
			Dirs: o.Dirs, Config: o.Config, Records: records, Images: images, Kernels: kernels,
			Driver: driver(o),
			Shim:   []string{o.Executable, "shim"}, Log: o.Log,
		}),
	}, nil
}

func driver(o Options) vm.Driver {
	if o.Driver != nil {
		return o.Driver
	}
	return qemu.New(qemu.Options{Binary: o.Config.QEMU, Accelerator: o.Config.Accelerator, CacheDir: o.Dirs.Cache})
}

// agentPath finds the guest agent's executable: where the user says, or next to banger, or in the libexec directory
// beside the directory that banger is in. Where there is none, it is the place that a boot will complain about.
func agentPath(o Options) string {
	if o.Config.Agent != "" {
		return o.Config.Agent
	}
	bin := filepath.Dir(o.Executable)
	beside := filepath.Join(bin, "banger-agent")
	for _, path := range []string{beside, filepath.Join(filepath.Dir(bin), "libexec", "banger", "banger-agent")} {
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path
		}
	}
	return beside
}

// reconcile brings files and records in line after whatever happened to the last daemon.
func (s *services) reconcile(ctx context.Context) error {
	if err := s.images.Sweep(ctx); err != nil { // and all of staging
		return err
	}
	if err := s.kernels.Sweep(ctx); err != nil {
		return err
	}
	return s.vms.Reconcile(ctx)
}

func (s *services) close() error {
	return errors.Join(s.vms.Close(), s.puller.Close(), s.store.Close())
}

// http returns the services as the API serves them.
func (s *services) http(d *daemon) httpapi.Services {
	return httpapi.Services{VMs: s.vms, Images: s.images, Kernels: s.kernels, Daemon: d}
}
