package kernel

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/fsutil"
	"github.com/banger-dev/banger/internal/kernel/bzimage"
	"github.com/banger-dev/banger/internal/op"
	"github.com/banger-dev/banger/internal/publish"
)

// The files of a kernel.
const (
	vmlinuxFile   = "vmlinux"
	modulesFile   = "modules.ext4"
	initramfsFile = "initramfs-modules.cpio" // with the suffix of its compression
	manifestFile  = "manifest.json"
	treeDir       = "tree" // in a staging directory only: what packages hold
)

// Published files never change, so nobody may write to them.
const fileMode = 0o400

// arch is the only one whose kernels there are.
const arch = "x86_64"

// source is where a kernel's files are before banger makes its own of them.
type source struct {
	distro  string
	origin  string // api.Kernel.Source
	vmlinux string // a vmlinux or bzImage
	modules string // lib/modules/<version>, or a directory above it; "": none
	config  string // the build's configuration; "": looked for beside the others
}

// fetcher brings a kernel's files to this machine; what it makes, it makes in the staging directory.
type fetcher func(ctx context.Context, staging *publish.Staging) (source, error)

// make fetches and builds a kernel in a staging directory and publishes it as name.
func (s *Service) make(ctx context.Context, name string, force bool, fetch fetcher) (api.Kernel, error) {
	staging, err := publish.New(s.dirs.Staging(), "kernel")
	if err != nil {
		return api.Kernel{}, err
	}
	k, err := s.stage(ctx, staging, name, fetch)
	debug.FreeOSMemory() // of a daemon that may not need it again for weeks: 75 MB after a pull, 18 MB with this
	if err == nil {
		k, err = s.publish(ctx, staging, k, force)
	}
	if err := errors.Join(err, staging.Discard()); err != nil { //nolint:contextcheck // cleaning up goes on after a cancellation
		return api.Kernel{}, err
	}
	return k, nil
}

// stage makes all of a kernel's files and brings them to disk. The paths in the result are those after publication.
func (s *Service) stage(ctx context.Context, staging *publish.Staging, name string, fetch fetcher) (api.Kernel, error) {
	src, err := fetch(ctx, staging)
	if err != nil {
		return api.Kernel{}, err
	}
	k, err := build(ctx, staging, src)
	if err != nil {
		return api.Kernel{}, fsutil.NoSpace(err)
	}
	if err := os.RemoveAll(staging.Path(treeDir)); err != nil {
		return api.Kernel{}, fmt.Errorf("remove the unpacked packages: %w", err)
	}
	k.Name, k.CreatedAt = name, time.Now().UTC()
	k = at(k, s.dir(k.ID))
	if err := writeManifest(staging.Path(manifestFile), k); err != nil {
		return api.Kernel{}, err
	}
	return k, staging.Sync()
}

// build makes a kernel's files in the staging directory. The paths in the result are those of the staging directory.
func build(ctx context.Context, staging *publish.Staging, src source) (api.Kernel, error) {
	version, err := unpackKernel(ctx, src.vmlinux, staging.Path(vmlinuxFile))
	if err != nil {
		return api.Kernel{}, err
	}
	k := api.Kernel{Distro: src.distro, Arch: arch, Version: version, Source: src.origin}
	modules, err := modulesDir(src.modules, version)
	if err != nil {
		return api.Kernel{}, err
	}
	config, err := readConfig(src, modules, version)
	if err != nil {
		return api.Kernel{}, err
	}
	initramfs, err := packModules(ctx, staging, modules, version, config)
	if err != nil {
		return api.Kernel{}, err
	}
	files := []string{vmlinuxFile, initramfs}
	if modules != "" {
		files = append(files, modulesFile)
	}
	return describe(ctx, k, staging, files)
}

// describe fills in the kernel's files and, from their content, its id.
func describe(ctx context.Context, k api.Kernel, staging *publish.Staging, files []string) (api.Kernel, error) {
	id := sha256.New()
	for _, name := range files {
		f, err := fsutil.Describe(ctx, staging.Path(name))
		if err != nil {
			return api.Kernel{}, err
		}
		switch name {
		case vmlinuxFile:
			k.Vmlinux = f
		case modulesFile:
			k.Modules = &f
		}
		fmt.Fprintf(id, "%s %s\n", name, f.SHA256)
	}
	k.ID = hex.EncodeToString(id.Sum(nil))[:12]
	return k, nil
}

// unpackKernel writes the vmlinux within file to target and returns the kernel's version.
func unpackKernel(ctx context.Context, file, target string) (version string, err error) {
	stage := op.Begin(ctx, "unpack kernel", filepath.Base(file))
	defer func() { err = stage.End(err) }()
	in, err := openInput(file)
	if err != nil {
		return "", err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return "", fmt.Errorf("read kernel: %w", err)
	}
	out, err := os.OpenFile(target, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return "", fmt.Errorf("unpack kernel: %w", err)
	}
	unpacked, err := bzimage.Unpack(out, in, info.Size())
	if err = errors.Join(err, out.Close()); err != nil {
		return "", fmt.Errorf("kernel %s: %w", file, err)
	}
	stage.Add(unpacked.Size)
	return unpacked.Version, nil
}

// openInput opens a regular file that the user named.
func openInput(file string) (*os.File, error) {
	info, err := os.Stat(file)
	if err == nil && !info.Mode().IsRegular() {
		return nil, errdefs.New(errdefs.ErrInvalid, "read kernel: %s is not a regular file", file)
	}
	f, err := os.Open(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errdefs.New(errdefs.ErrInvalid, "read kernel: %s does not exist", file)
	case errors.Is(err, fs.ErrPermission):
		return nil, errdefs.WithHint(
			errdefs.New(errdefs.ErrUnavailable, "read kernel: %s is not readable for this user", file),
			"Ubuntu keeps its kernels readable for root alone; make a copy of your own with "+
				"`sudo install -m 644 %s /tmp/` and import that with --vmlinuz", file)
	case err != nil:
		return nil, fmt.Errorf("read kernel: %w", err)
	}
	return f, nil
}

// writeManifest keeps what the kernel is next to its files, for people and for other tools.
func writeManifest(path string, k api.Kernel) error {
	data, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	return fsutil.WriteAtomic(path, append(data, '\n'), fileMode)
}
