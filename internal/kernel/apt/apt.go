// Package apt fetches a distribution's kernel package with the host's own apt, without installing it and without root.
// Trust is apt's: it checks the package against the archive's signed lists.
package apt

import (
	"context"
	"os/exec"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
)

// Metapackages depend on the newest kernel for virtual machines; the first that the host's apt knows is taken.
// The first is Debian's, the second Ubuntu's.
var Metapackages = []string{"linux-image-cloud-amd64", "linux-image-virtual"}

// Package is one version of a package, as apt's lists have it.
type Package struct {
	Name    string
	Version string
	SHA256  string // of its file, in hex
	Size    int64  // of its file, in bytes
	depends []string
}

// String is name=version, as apt takes it.
func (p Package) String() string { return p.Name + "=" + p.Version }

// Kernel is what has to be downloaded for a kernel: its image and, where that is packaged apart, its modules.
type Kernel struct {
	Release  string // as uname -r prints it
	Packages []Package
}

// Resolve finds the newest kernel that the metapackages lead to. Without apt, or when apt does not know such a package,
// it fails with errdefs.ErrUnavailable and a hint.
func Resolve(ctx context.Context, metapackages ...string) (Kernel, error) {
	if err := tools(); err != nil {
		return Kernel{}, err
	}
	for _, name := range metapackages {
		meta, err := show(ctx, name)
		if err != nil {
			return Kernel{}, err
		}
		if meta == nil {
			continue
		}
		return fromMetapackage(ctx, *meta)
	}
	return Kernel{}, errdefs.WithHint(
		errdefs.New(errdefs.ErrUnavailable, "apt knows no package %s", strings.Join(metapackages, " or ")),
		"run `sudo apt-get update` if its lists are empty or old; or import a kernel: banger kernel import --host")
}

func tools() error {
	for _, tool := range []string{"apt-get", "apt-cache", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			return errdefs.WithHint(
				errdefs.New(errdefs.ErrUnavailable, "this host has no %s: it is neither Debian nor Ubuntu", tool),
				"import a kernel of this host: banger kernel import --host, or --vmlinuz FILE --modules DIR")
		}
	}
	return nil
}

const (
	imagePrefix   = "linux-image-"
	modulesPrefix = "linux-modules-"
)

func fromMetapackage(ctx context.Context, meta Package) (Kernel, error) {
	image, err := dependency(ctx, meta, imagePrefix)
	if err != nil {
		return Kernel{}, err
	}
	if image == nil {
		return Kernel{}, errdefs.New(errdefs.ErrUnavailable, "package %s depends on no kernel", meta)
	}
	k := Kernel{Release: strings.TrimPrefix(image.Name, imagePrefix), Packages: []Package{*image}}
	modules, err := dependency(ctx, *image, modulesPrefix)
	if err != nil {
		return Kernel{}, err
	}
	if modules != nil {
		k.Packages = append(k.Packages, *modules)
	}
	return k, nil
}

// dependency returns the package that p depends on whose name is prefix and a kernel release, nil when there is none.
func dependency(ctx context.Context, p Package, prefix string) (*Package, error) {
	for _, name := range p.depends {
		release, ok := strings.CutPrefix(name, prefix)
		if !ok || release == "" || release[0] < '0' || release[0] > '9' {
			continue
		}
		found, err := show(ctx, name)
		if err != nil {
			return nil, err
		}
		if found == nil {
			return nil, errdefs.WithHint(
				errdefs.New(errdefs.ErrUnavailable, "apt knows no package %s, which %s depends on", name, p),
				"run `sudo apt-get update`")
		}
		return found, nil
	}
	return nil, nil
}
