package cli

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
)

func newKernelImport(a *app) *cobra.Command {
	var req api.KernelImport
	cmd := &cobra.Command{
		Use: "import {--host | --vmlinuz FILE [--modules DIR]} [--name NAME]", Short: "Make a kernel from files on this machine",
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !req.Host && req.Vmlinux == "" {
				return usagef("%s: either --host or --vmlinuz is needed", operation(cmd))
			}
			if req.Vmlinux != "" && req.Name == "" {
				return usagef("%s: --vmlinuz needs a --name", operation(cmd))
			}
			for _, path := range []*string{&req.Vmlinux, &req.Modules} { // the daemon has another working directory
				if *path == "" {
					continue
				}
				absolute, err := filepath.Abs(*path)
				if err != nil {
					return fail(operation(cmd), *path, err)
				}
				*path = absolute
			}
			return a.makeKernel(cmd, req.Name, func(c *api.Client, progress api.Progress) (api.Kernel, error) {
				return c.ImportKernel(cmd.Context(), req, progress)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&req.Name, "name", "", "name of the kernel")
	flags.StringVar(&req.Vmlinux, "vmlinuz", "", "`FILE` with a bzImage or an ELF vmlinux")
	flags.StringVar(&req.Modules, "modules", "", "`DIR` of its modules, like /lib/modules/VERSION")
	flags.BoolVar(&req.Host, "host", false, "the kernel that this host runs")
	flags.BoolVar(&req.Force, "force", false, "replace a kernel of that name")
	cmd.MarkFlagsMutuallyExclusive("host", "vmlinuz")
	cmd.MarkFlagsMutuallyExclusive("host", "modules")
	_ = cmd.MarkFlagDirname("modules") // the flag exists
	a.registerQuiet(cmd)
	return cmd
}
