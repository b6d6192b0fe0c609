package kernel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/ext4"
	"github.com/banger-dev/banger/internal/kernel/initramfs"
	"github.com/banger-dev/banger/internal/kernel/modules"
	"github.com/banger-dev/banger/internal/op"
	"github.com/banger-dev/banger/internal/publish"
)

// drivers are what a guest needs before it has a disk to load modules from.
var drivers = []struct {
	module   string
	option   string // of the kernel's configuration
	required bool
}{
	{"virtio_mmio", "CONFIG_VIRTIO_MMIO", true},
	{"virtio_pci", "CONFIG_VIRTIO_PCI", false},
	{"virtio_blk", "CONFIG_VIRTIO_BLK", true},
	{"virtio_net", "CONFIG_VIRTIO_NET", true},
	{"virtio_console", "CONFIG_VIRTIO_CONSOLE", true},
	{"overlay", "CONFIG_OVERLAY_FS", true},
	{"ext4", "CONFIG_EXT4_FS", true},
	{"virtio_rng", "CONFIG_HW_RANDOM_VIRTIO", false},
}

// packModules makes the modules disk and the modules' part of the initramfs, whose file's name it returns.
// With dir "" there is no disk, and no module in the initramfs.
func packModules(ctx context.Context, staging *publish.Staging, dir, version string, config buildConfig) (string, error) {
	var early []initramfs.Module
	if dir == "" {
		if missing := config.missing(); len(missing) > 0 {
			op.Warn(ctx, fmt.Sprintf("no modules were given: the kernel boots only if it has %s built in", strings.Join(missing, ", ")))
		}
	} else {
		tree, err := writeDisk(ctx, staging.Path(modulesFile), dir)
		if err != nil {
			return "", err
		}
		early, err = earlyModules(tree, version, config)
		if err != nil {
			return "", fmt.Errorf("modules of %s: %w", dir, err)
		}
	}
	compression, err := config.compression()
	if err != nil {
		return "", err
	}
	name := initramfsFile + compression.Suffix()
	err = create(staging.Path(name), func(f *os.File) error {
		return initramfs.Compress(f, compression, func(w io.Writer) error { return initramfs.WriteModules(w, early) })
	})
	return name, err
}

// missing returns the required drivers that the configuration does not show to be built in.
func (c buildConfig) missing() []string {
	var names []string
	for _, d := range drivers {
		if d.required && !c.builtin(d.option) {
			names = append(names, d.module)
		}
	}
	return names
}

// writeDisk makes a read-only file system of the modules in dir, uncompressed so that any guest's modprobe can load
// them, and of the indexes that modprobe needs.
func writeDisk(ctx context.Context, target, dir string) (tree *modules.Tree, err error) {
	stage := op.Begin(ctx, "modules", filepath.Base(dir))
	defer func() { err = stage.End(err) }()
	err = create(target, func(f *os.File) error {
		disk, err := ext4.NewWriter(f, ext4.Options{ReadOnly: true, Label: "banger-modules"})
		if err != nil {
			return err
		}
		add := func(name string, content []byte) error {
			stage.Add(int64(len(content)))
			entry := ext4.Entry{Path: name, Type: ext4.Regular, Mode: 0o644, Size: int64(len(content))}
			return disk.Add(entry, bytes.NewReader(content))
		}
		tree, err = modules.Scan(ctx, os.DirFS(dir), func(m *modules.Module, content []byte) error {
			return add(m.Path, content)
		})
		if err != nil {
			return err
		}
		indexes, err := tree.Indexes()
		if err != nil {
			return err
		}
		for _, i := range indexes {
			if err := add(i.Name, i.Data); err != nil {
				return err
			}
		}
		return disk.Close()
	})
	if err != nil {
		return nil, fmt.Errorf("make the disk of the modules in %s: %w", dir, err)
	}
	return tree, nil
}

// earlyModules returns what the initramfs needs of the tree, in load order.
func earlyModules(tree *modules.Tree, version string, config buildConfig) ([]initramfs.Module, error) {
	var wanted []string
	required := map[string]bool{}
	for _, d := range drivers {
		if !config.builtin(d.option) {
			wanted = append(wanted, d.module)
			required[d.module] = d.required
		}
	}
	order, missing, err := tree.LoadOrder(wanted)
	if err != nil {
		return nil, err
	}
	for _, name := range missing {
		if required[name] {
			return nil, errdefs.WithHint(
				errdefs.New(errdefs.ErrInvalid, "the kernel has no driver %s, neither as a module nor built in", name),
				"the directory of modules must be whole, with its file modules.builtin; banger kernel pull debian-cloud has all drivers")
		}
	}
	var early []initramfs.Module
	for _, m := range order {
		if m.Version != version {
			return nil, errdefs.WithHint(
				errdefs.New(errdefs.ErrInvalid, "module %s was built for kernel %q, this one is %s", m.Path, m.Version, version),
				"give the directory lib/modules/%s of the same kernel", version)
		}
		content, err := tree.Read(m)
		if err != nil {
			return nil, err
		}
		early = append(early, initramfs.Module{Path: path.Join("/lib/modules", version, m.Path), Content: content})
	}
	return early, nil
}

// modulesDir finds the modules of a version at or below dir.
func modulesDir(dir, version string) (string, error) {
	if dir == "" {
		return "", nil
	}
	for _, below := range []string{version, filepath.Join("lib/modules", version), filepath.Join("usr/lib/modules", version), "."} {
		candidate := filepath.Join(dir, below)
		info, err := os.Stat(candidate)
		if err == nil && info.IsDir() {
			return candidate, nil
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", errdefs.New(errdefs.ErrInvalid, "read modules: %w", err)
		}
	}
	return "", errdefs.New(errdefs.ErrInvalid, "read modules: %s is no directory", dir)
}

// maxConfig bounds a configuration file, in bytes; distributions' have 130 to 300 KB.
const maxConfig = 8 << 20

// readConfig reads the kernel's configuration where there is one: named by src, next to the kernel, or among its modules.
func readConfig(src source, modules, version string) (buildConfig, error) {
	places := []string{src.config, filepath.Join(filepath.Dir(src.vmlinux), "config-"+version)}
	if modules != "" {
		places = append(places, filepath.Join(modules, "config"))
	}
	for _, file := range places {
		if file == "" {
			continue
		}
		f, err := os.Open(file)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue // it only helps
		}
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, maxConfig))
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		return parseConfig(data), nil
	}
	return nil, nil
}

// create makes a file and lets fill write it.
func create(path string, fill func(*os.File) error) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	return errors.Join(fill(f), f.Close())
}
