package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/image/bundle"
	"github.com/banger-dev/banger/internal/image/seed"
)

// newInternalMakeBundle makes what a catalog offers, without a daemon.
func newInternalMakeBundle(a *app) *cobra.Command {
	var rootfs, kernel, name, bootsWith, version, distro, out string
	cmd := &cobra.Command{
		Use: "make-bundle {--rootfs FILE | --kernel-dir DIR} -o FILE", Short: "Make a bundle and print its sha256", Args: cobra.NoArgs,
		Long: "Make a bundle of an image from an ext4 root file system, or of a kernel from a directory with vmlinux and, if it\n" +
			"has them, initrd.img and modules, and print its sha256.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (rootfs == "") == (kernel == "") {
				return usagef("%s: either --rootfs or --kernel-dir is needed", operation(cmd))
			}
			digest, err := intoFile(out, func(f *os.File) (string, error) {
				if kernel != "" {
					m := bundle.KernelManifest{Name: name, Version: version, Distro: distro}
					return bundle.WriteKernel(cmd.Context(), f, m, kernel)
				}
				return bundleRootfs(cmd.Context(), f, rootfs, bundle.Manifest{Name: name, Kernel: bootsWith, Config: api.ImageConfig{}})
			})
			if err != nil {
				return fail(operation(cmd), out, err)
			}
			_, err = fmt.Fprintln(a.out, digest)
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&rootfs, "rootfs", "", "ext4 `FILE` with the whole root file system")
	flags.StringVar(&kernel, "kernel-dir", "", "`DIR` with the files of a kernel")
	flags.StringVar(&name, "name", "", "suggested `NAME`")
	flags.StringVar(&bootsWith, "kernel", "", "`NAME` of the kernel that the image boots with")
	flags.StringVar(&version, "version", "", "`VERSION` of the kernel")
	flags.StringVar(&distro, "distro", "", "`DISTRIBUTION` of the kernel")
	flags.StringVarP(&out, "output", "o", "", "`FILE` to write")
	_ = cmd.MarkFlagRequired("output") // the flag exists
	return cmd
}

func bundleRootfs(ctx context.Context, to *os.File, path string, m bundle.Manifest) (string, error) {
	from, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer from.Close()
	return bundle.Write(ctx, to, m, from)
}

// intoFile lets make write a new file, which does not stay when it fails.
func intoFile(path string, write func(*os.File) (string, error)) (string, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return "", err
	}
	result, err := write(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(path))
	}
	return result, nil
}

func newInternalWorkSeed(a *app) *cobra.Command {
	var rootfs, out string
	cmd := &cobra.Command{
		Use: "work-seed --rootfs FILE --out FILE", Short: "Make a work seed of /root in an ext4 file, without mounting it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := os.Open(rootfs)
			if err != nil {
				return fail(operation(cmd), rootfs, err)
			}
			defer from.Close()
			disk, err := seed.Open(from)
			if err != nil {
				return fail(operation(cmd), rootfs, err)
			}
			_, err = intoFile(out, func(f *os.File) (string, error) {
				result, err := seed.Build(cmd.Context(), disk, f, seed.Options{})
				for _, w := range result.Warnings {
					a.tell("%s", w)
				}
				return "", err
			})
			if err != nil {
				return fail(operation(cmd), rootfs, err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&rootfs, "rootfs", "", "ext4 `FILE` with a root file system")
	cmd.Flags().StringVar(&out, "out", "", "`FILE` to write")
	for _, name := range []string{"rootfs", "out"} {
		_ = cmd.MarkFlagRequired(name) // the flag exists
	}
	return cmd
}
