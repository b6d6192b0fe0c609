package bundle

import (
	"encoding/json"
	"fmt"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/names"
	"github.com/banger-dev/banger/internal/strictjson"
)

// FormatVersion is the one that this package writes and reads.
const FormatVersion = 1

// The kinds of bundles.
const (
	KindImage  = "image"
	KindKernel = "kernel"
)

// Arch is the only architecture that there are bundles for.
const Arch = "x86_64"

// head is what every manifest begins with.
type head struct {
	Format int    `json:"format"`
	Kind   string `json:"kind"`
}

// Manifest describes an image. Unknown keys are refused: a new key is a new format.
type Manifest struct {
	Format int             `json:"format"`           // FormatVersion; Write sets it
	Kind   string          `json:"kind"`             // KindImage; Write sets it
	Name   string          `json:"name,omitempty"`   // suggested, as images are named
	Arch   string          `json:"arch"`             // Arch; Write sets an empty one
	Kernel string          `json:"kernel,omitempty"` // name of the kernel that it boots with; empty: the default
	Config api.ImageConfig `json:"config"`
	Rootfs File            `json:"rootfs"` // Write sets it
}

// KernelManifest describes a kernel.
type KernelManifest struct {
	Format  int    `json:"format"`         // FormatVersion; WriteKernel sets it
	Kind    string `json:"kind"`           // KindKernel; WriteKernel sets it
	Name    string `json:"name,omitempty"` // suggested, as kernels are named
	Distro  string `json:"distro,omitempty"`
	Arch    string `json:"arch"`              // Arch; WriteKernel sets an empty one
	Version string `json:"version,omitempty"` // as uname -r says it
	Vmlinux File   `json:"vmlinux"`           // WriteKernel sets it
	Initrd  *File  `json:"initrd,omitempty"`  // WriteKernel sets it
}

// File is what a manifest says of a file.
type File struct {
	Size   int64  `json:"size"`   // bytes
	SHA256 string `json:"sha256"` // hex
}

func (f File) check(name string) error {
	digest, err := ParseDigest(f.SHA256)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	case digest != f.SHA256:
		return invalid("%s: sha256 %q is not in lower case", name, f.SHA256)
	case f.Size < 0:
		return invalid("%s: %d bytes", name, f.Size)
	}
	return nil
}

// parse decodes a manifest of the given kind into v.
func parse(data []byte, kind string, v any) error {
	var h head
	if err := json.Unmarshal(data, &h); err != nil {
		return errdefs.As(errdefs.ErrInvalid, fmt.Errorf("%s: %w", manifestFile, err))
	}
	switch {
	case h.Format > FormatVersion:
		return errdefs.WithHint(invalid("%s: format %d is not known", manifestFile, h.Format), "a newer banger reads it")
	case h.Format != FormatVersion:
		return invalid("%s: format %d is not known", manifestFile, h.Format)
	case h.Kind != kind:
		return invalid("%s: the bundle is of kind %q, not %q", manifestFile, h.Kind, kind)
	}
	if err := strictjson.Unmarshal(data, v); err != nil {
		return errdefs.As(errdefs.ErrInvalid, fmt.Errorf("%s: %w", manifestFile, err))
	}
	return nil
}

func parseImage(data []byte) (Manifest, error) {
	var m Manifest
	err := parse(data, KindImage, &m)
	if err == nil {
		err = m.check()
	}
	return m, err
}

func (m *Manifest) check() error {
	if err := checkCommon(m.Name, m.Arch, KindImage); err != nil {
		return err
	}
	if m.Kernel != "" {
		if err := names.Validate("kernel", m.Kernel); err != nil {
			return fmt.Errorf("%s: %w", manifestFile, err)
		}
	}
	return m.Rootfs.check(rootfsFile)
}

func parseKernel(data []byte) (KernelManifest, error) {
	var m KernelManifest
	err := parse(data, KindKernel, &m)
	if err == nil {
		err = m.check()
	}
	return m, err
}

func (m *KernelManifest) check() error {
	if err := checkCommon(m.Name, m.Arch, KindKernel); err != nil {
		return err
	}
	if m.Initrd != nil {
		if err := m.Initrd.check(InitrdFile); err != nil {
			return err
		}
	}
	return m.Vmlinux.check(VmlinuxFile)
}

func checkCommon(name, arch, kind string) error {
	if name != "" {
		if err := names.Validate(kind, name); err != nil {
			return fmt.Errorf("%s: %w", manifestFile, err)
		}
	}
	if arch != Arch {
		return errdefs.New(errdefs.ErrInvalid, "%s: it is for %q, not %s", manifestFile, arch, Arch)
	}
	return nil
}

func encode(m any) ([]byte, error) {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return append(data, '\n'), nil
}
