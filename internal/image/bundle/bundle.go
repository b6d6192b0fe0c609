// Package bundle reads and writes bundles: images and kernels as single files that a catalog can name with a sha256.
//
// A bundle is a tar archive, compressed with zstd, of regular files. That of an image holds exactly
//
//	manifest.json   [Manifest]
//	rootfs.ext4     the whole root file system, /root included
//
// and that of a kernel
//
//	manifest.json   [KernelManifest]; optional
//	vmlinux         or a bzImage under this name
//	initrd.img      optional
//	modules/...     optional: what is in lib/modules/<version>
//
// They are written in this order, so that the manifest says what to expect; any order can be read. The same content makes
// the same bytes. Bundles are foreign: whatever else is in one is refused by its name, every file is checked against the
// manifest and the whole against the catalog while it streams, and nothing is written but the named files.
package bundle

import (
	"encoding/hex"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
)

const (
	manifestFile = "manifest.json"
	rootfsFile   = "rootfs.ext4"
)

// What a kernel's bundle holds, and what ReadKernel makes in its directory.
const (
	VmlinuxFile = "vmlinux"
	InitrdFile  = "initrd.img"
	ModulesDir  = "modules"
)

// Limits bound what a bundle may take. Zero fields mean the defaults.
type Limits struct {
	Compressed int64 // bytes of the bundle; default 64 GiB
	Content    int64 // bytes of all files in it; default 128 GiB
	Files      int   // in it; default 50,000
}

const (
	maxManifest = 1 << 20   // bytes
	maxPadding  = 1 << 20   // bytes after the last file
	maxWindow   = 128 << 20 // bytes that the decompressor remembers, as zstd --ultra needs at most
	maxPath     = 1024      // bytes of a module's path
)

func (l Limits) orDefault() Limits {
	if l.Compressed <= 0 {
		l.Compressed = 64 << 30
	}
	if l.Content <= 0 {
		l.Content = 128 << 30
	}
	if l.Files <= 0 {
		l.Files = 50_000
	}
	return l
}

func invalid(format string, args ...any) error {
	return errdefs.New(errdefs.ErrInvalid, format, args...)
}

// ParseDigest returns the 64 lower-case hex digits of a sha256, which may have the prefix "sha256:".
func ParseDigest(s string) (string, error) {
	digits := strings.ToLower(strings.TrimPrefix(s, "sha256:"))
	if b, err := hex.DecodeString(digits); err != nil || len(b) != 32 {
		return "", invalid("%q is not a sha256 of 64 hex digits", s)
	}
	return digits, nil
}
