package cli

import (
	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
)

func newImageRegister(a *app) *cobra.Command {
	var (
		req    api.ImageRegister
		kernel api.KernelImport
		f      format
	)
	cmd := &cobra.Command{
		Use:   "register --name NAME --rootfs FILE [flags]",
		Short: "Make an image of ext4 files that stay where they are",
		Long: "Make an image of ext4 files that stay where they are and yours. They must not change: image verify notices that.\n" +
			"`banger image promote` copies them, so that they are banger's.",
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, path := range []*string{&req.Rootfs, &req.WorkSeed, &kernel.Vmlinux, &kernel.Modules} {
				var err error
				if *path, err = absolute(*path); err != nil {
					return fail(operation(cmd), req.Name, err)
				}
			}
			if kernel.Modules != "" && kernel.Vmlinux == "" {
				return usagef("%s: --modules needs --kernel", operation(cmd))
			}
			return a.makeImage(cmd, req.Name, f, func(c *api.Client, progress api.Progress) (api.Image, error) {
				if kernel.Vmlinux != "" {
					kernel.Name, kernel.Force = req.Name, req.Force
					k, err := c.ImportKernel(cmd.Context(), kernel, progress)
					if err != nil {
						return api.Image{}, err
					}
					req.Kernel = k.Name
				}
				return c.RegisterImage(cmd.Context(), req, progress)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&req.Name, "name", "", "`NAME` of the image")
	flags.StringVar(&req.Rootfs, "rootfs", "", "ext4 `FILE` with the root file system")
	flags.StringVar(&req.WorkSeed, "work-seed", "", "ext4 `FILE` with what guests have in /root at first")
	flags.StringVar(&req.Kernel, "kernel-ref", "", "`REF` of the kernel that it boots with (default from the configuration)")
	flags.StringVar(&kernel.Vmlinux, "kernel", "", "`FILE` with a bzImage or an ELF vmlinux, which is imported under the image's name")
	flags.StringVar(&kernel.Modules, "modules", "", "`DIR` of its modules, like /lib/modules/VERSION")
	flags.BoolVar(&req.Force, "force", false, "replace an image of that name")
	cmd.MarkFlagsMutuallyExclusive("kernel", "kernel-ref")
	for _, name := range []string{"name", "rootfs"} {
		_ = cmd.MarkFlagRequired(name) // the flag exists, as do those below
	}
	_ = cmd.MarkFlagDirname("modules")
	_ = cmd.RegisterFlagCompletionFunc("kernel-ref", a.completeKernels())
	f.register(cmd, "")
	a.registerQuiet(cmd)
	return cmd
}
