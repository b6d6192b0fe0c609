package kernel

import (
	"bufio"
	"bytes"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/kernel/initramfs"
)

// buildConfig is a kernel's build configuration (the file /boot/config-<version>): the options that are set. It is nil
// when there is none to read.
type buildConfig map[string]string

func parseConfig(data []byte) buildConfig {
	c := buildConfig{}
	s := bufio.NewScanner(bytes.NewReader(data))
	for s.Scan() {
		key, value, ok := bytes.Cut(s.Bytes(), []byte("="))
		if ok && bytes.HasPrefix(key, []byte("CONFIG_")) {
			c[string(key)] = string(value)
		}
	}
	return c
}

// compression is the best that the kernel unpacks its initramfs from. Every kernel of the last ten years knows gzip
// unless its configuration says otherwise.
func (c buildConfig) compression() (initramfs.Compression, error) {
	switch {
	case c == nil:
		return initramfs.Gzip, nil
	case c["CONFIG_BLK_DEV_INITRD"] != "y":
		return "", errdefs.WithHint(errdefs.New(errdefs.ErrInvalid, "the kernel takes no initramfs"),
			"use a kernel that was built with CONFIG_BLK_DEV_INITRD=y")
	case c["CONFIG_RD_ZSTD"] == "y":
		return initramfs.Zstd, nil
	case c["CONFIG_RD_GZIP"] == "y":
		return initramfs.Gzip, nil
	default:
		return initramfs.None, nil
	}
}

// builtin reports whether the option is known to be part of the kernel.
func (c buildConfig) builtin(option string) bool { return c[option] == "y" }
