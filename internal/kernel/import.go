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
	"github.com/banger-dev/banger/internal/names"
	"github.com/banger-dev/banger/internal/publish"
)

// Import makes a kernel from files on this machine. Without a name it is called "host", or after its file.
// A name that is taken is errdefs.ErrExists, unless req.Force.
func (s *Service) Import(ctx context.Context, req api.KernelImport) (api.Kernel, error) {
	if err := validate(&req); err != nil {
		return api.Kernel{}, fmt.Errorf("import kernel: %w", err)
	}
	unlock, err := s.names.Lock(ctx, req.Name)
	if err != nil {
		return api.Kernel{}, fmt.Errorf("import kernel %s: %w", req.Name, err)
	}
	defer unlock()
	old, err := s.named(ctx, req.Name)
	if err == nil && old != nil && !req.Force {
		err = taken(req.Name)
	}
	if err != nil {
		return api.Kernel{}, fmt.Errorf("import kernel %s: %w", req.Name, err)
	}
	k, err := s.make(ctx, req.Name, req.Force, func(context.Context, *publish.Staging) (source, error) {
		if req.Host {
			return fromHost()
		}
		return fromFiles(req)
	})
	if err != nil {
		return api.Kernel{}, fmt.Errorf("import kernel %s: %w", req.Name, err)
	}
	return k, nil
}

func taken(name string) error {
	return errdefs.WithHint(errdefs.New(errdefs.ErrExists, "the name is taken"),
		"choose another with --name, or replace it with --force; banger kernel show %s tells about it", name)
}

// validate checks a request and gives it a name.
func validate(req *api.KernelImport) error {
	switch {
	case req.Host == (req.Vmlinux != ""):
		return errdefs.New(errdefs.ErrInvalid, "either --host or --vmlinuz is needed")
	case req.Host && req.Modules != "":
		return errdefs.New(errdefs.ErrInvalid, "--modules goes with --vmlinuz, not with --host")
	case !req.Host && !filepath.IsAbs(req.Vmlinux), req.Modules != "" && !filepath.IsAbs(req.Modules):
		return errdefs.New(errdefs.ErrInvalid, "the paths of the kernel and its modules must be absolute")
	}
	if req.Name == "" {
		req.Name = "host"
		if !req.Host {
			req.Name = nameFor(filepath.Base(req.Vmlinux))
		}
	}
	return names.Validate("kernel", req.Name)
}

// nameFor makes a name from a file's: "vmlinuz-6.1.0-56-cloud-amd64" gives "linux-6-1-0-56-cloud-amd64".
func nameFor(file string) string {
	for _, prefix := range []string{"vmlinuz-", "vmlinux-", "bzImage-"} {
		if version, ok := strings.CutPrefix(file, prefix); ok {
			file = "linux-" + version
			break
		}
	}
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		default:
			return '-'
		}
	}, file)
	name = strings.Trim(name, "-")
	return strings.TrimRight(name[:min(len(name), names.Max)], "-")
}

func fromFiles(req api.KernelImport) (source, error) {
	return source{origin: "file:" + req.Vmlinux, vmlinux: req.Vmlinux, modules: req.Modules}, nil
}

// fromHost finds the files of the kernel that runs here.
func fromHost() (source, error) {
	version, err := release()
	if err != nil {
		return source{}, err
	}
	modules := filepath.Join("/lib/modules", version)
	src := source{distro: distro(), origin: "host:" + version, modules: modules}
	// The second is where Fedora and Arch have it.
	for _, file := range []string{"/boot/vmlinuz-" + version, filepath.Join(modules, "vmlinuz")} {
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			src.vmlinux = file
			return src, nil // building tells what is wrong with it
		}
	}
	return source{}, errdefs.WithHint(
		errdefs.New(errdefs.ErrUnavailable, "this host has no file of its kernel %s in /boot or %s", version, modules),
		"in a container or a VM the kernel is not among the files; use banger kernel pull debian-cloud")
}
