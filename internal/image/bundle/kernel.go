package bundle

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/fsutil"
)

// WriteKernel writes a bundle of the kernel in dir to w and returns its sha256: the files VmlinuxFile and, where they
// are, InitrdFile and ModulesDir. Symbolic links among the modules, which lead to the sources, are left out.
func WriteKernel(ctx context.Context, w io.Writer, m KernelManifest, dir string) (sha256 string, err error) {
	if sha256, err = writeKernel(ctx, w, m, dir); err != nil {
		return "", fmt.Errorf("write kernel bundle: %w", err)
	}
	return sha256, nil
}

func writeKernel(ctx context.Context, w io.Writer, m KernelManifest, dir string) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	m.Format, m.Kind = FormatVersion, KindKernel
	if m.Arch == "" {
		m.Arch = Arch
	}
	if m.Vmlinux, err = describeIn(ctx, root, VmlinuxFile); err != nil {
		return "", err
	}
	initrd, err := describeIn(ctx, root, InitrdFile)
	switch {
	case err == nil:
		m.Initrd = &initrd
	case errors.Is(err, fs.ErrNotExist):
		m.Initrd = nil
	default:
		return "", err
	}
	if err := m.check(); err != nil {
		return "", err
	}
	p, err := newPacker(ctx, w)
	if err != nil {
		return "", err
	}
	if err := p.kernel(root, m); err != nil {
		return "", err
	}
	return p.finish()
}

func (p *packer) kernel(root *os.Root, m KernelManifest) error {
	if err := p.manifest(m); err != nil {
		return err
	}
	if err := p.fileIn(root, VmlinuxFile, &m.Vmlinux); err != nil {
		return err
	}
	if m.Initrd != nil {
		if err := p.fileIn(root, InitrdFile, m.Initrd); err != nil {
			return err
		}
	}
	if _, err := root.Lstat(ModulesDir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fs.WalkDir(root.FS(), ModulesDir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir(), d.Type()&fs.ModeSymlink != 0:
			return nil
		case !d.Type().IsRegular():
			return invalid("%q is not a regular file", name)
		}
		return p.fileIn(root, name, nil)
	})
}

// fileIn adds the file name, whose description is read first when it is not given.
func (p *packer) fileIn(root *os.Root, name string, what *File) error {
	if what == nil {
		w, err := describeIn(p.ctx, root, name)
		if err != nil {
			return err
		}
		what = &w
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return p.file(name, f, *what)
}

func describeIn(ctx context.Context, root *os.Root, name string) (File, error) {
	info, err := root.Stat(name)
	if err != nil {
		return File{}, err
	}
	if !info.Mode().IsRegular() {
		return File{}, invalid("%q is not a regular file", name)
	}
	f, err := root.Open(name)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	return describe(ctx, f)
}

// ReadKernel reads a bundle of a kernel from r up to its end and makes VmlinuxFile, and what else it has, in dir, which
// exists and is empty. want is the sha256 that the bundle must have, "" for any. What was made is of use only when the
// error is nil. A bundle without a manifest has an empty one. Errors are classed as those of Read.
func ReadKernel(ctx context.Context, r io.Reader, want, dir string, l Limits) (KernelManifest, error) {
	m, err := readKernel(ctx, r, want, dir, l)
	if err != nil {
		return KernelManifest{}, fmt.Errorf("read kernel bundle: %w", err)
	}
	return m, nil
}

func readKernel(ctx context.Context, r io.Reader, want, dir string, l Limits) (m KernelManifest, err error) {
	if want != "" {
		if want, err = ParseDigest(want); err != nil {
			return KernelManifest{}, err
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return KernelManifest{}, err
	}
	defer root.Close()
	a, err := open(ctx, r, l)
	if err != nil {
		return KernelManifest{}, err
	}
	defer a.close()
	k := kernel{root: root}
	for {
		h, err := a.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = k.take(a, h)
		}
		if err != nil {
			return KernelManifest{}, err
		}
	}
	if err := a.finish(want); err != nil {
		return KernelManifest{}, err
	}
	return k.check()
}

// kernel is what was read of a bundle.
type kernel struct {
	root            *os.Root
	manifest        *KernelManifest
	vmlinux, initrd *File
}

func (k *kernel) take(a *archive, h *tar.Header) error {
	switch {
	case h.Typeflag == tar.TypeDir && isModule(strings.TrimSuffix(h.Name, "/")):
		return k.directory(strings.TrimSuffix(h.Name, "/"))
	case !regular(h):
		return refuse(h)
	case h.Name == manifestFile:
		data, err := a.manifest(h)
		if err != nil {
			return err
		}
		m, err := parseKernel(data)
		k.manifest = &m
		return err
	case h.Name != VmlinuxFile && h.Name != InitrdFile && (!isModule(h.Name) || h.Name == ModulesDir):
		return refuse(h)
	}
	got, err := k.store(a, h)
	switch h.Name {
	case VmlinuxFile:
		k.vmlinux = &got
	case InitrdFile:
		k.initrd = &got
	}
	return err
}

// isModule reports whether name is that of something among the modules.
func isModule(name string) bool {
	if name != ModulesDir && !strings.HasPrefix(name, ModulesDir+"/") {
		return false
	}
	control := func(r rune) bool { return r < ' ' || r == 0x7f }
	return fs.ValidPath(name) && len(name) <= maxPath && !strings.ContainsFunc(name, control)
}

func (k *kernel) directory(name string) error {
	if err := k.root.MkdirAll(name, 0o700); err != nil {
		return k.blame(name, err)
	}
	return nil
}

func (k *kernel) store(a *archive, h *tar.Header) (File, error) {
	if err := k.directory(path.Dir(h.Name)); err != nil {
		return File{}, err
	}
	f, err := k.root.OpenFile(h.Name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return File{}, k.blame(h.Name, err)
	}
	w := &sparse{f: f}
	got, err := a.store(h, w)
	if err == nil {
		err = w.close()
	}
	return got, errors.Join(err, f.Close())
}

// blame puts errors about names that do not fit together into the class of bad input.
func (k *kernel) blame(name string, err error) error {
	err = fmt.Errorf("entry %q: %w", name, fsutil.NoSpace(err))
	for p := name; p != "."; p = path.Dir(p) {
		if info, statErr := k.root.Lstat(p); statErr == nil && (p == name || !info.IsDir()) {
			return errdefs.As(errdefs.ErrInvalid, err)
		}
	}
	return err
}

func (k *kernel) check() (KernelManifest, error) {
	if k.vmlinux == nil {
		return KernelManifest{}, invalid("it has no %s", VmlinuxFile)
	}
	if k.manifest == nil {
		return KernelManifest{Arch: Arch, Vmlinux: *k.vmlinux, Initrd: k.initrd}, nil
	}
	if err := checksum(VmlinuxFile, *k.vmlinux, k.manifest.Vmlinux); err != nil {
		return KernelManifest{}, err
	}
	switch said := k.manifest.Initrd; {
	case (said == nil) != (k.initrd == nil):
		return KernelManifest{}, invalid("%s and the manifest do not agree on whether it is there", InitrdFile)
	case said != nil:
		if err := checksum(InitrdFile, *k.initrd, *said); err != nil {
			return KernelManifest{}, err
		}
	}
	return *k.manifest, nil
}
