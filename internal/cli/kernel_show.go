package cli

import (
	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
)

func newKernelShow(a *app) *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use: "show REF", Aliases: []string{"inspect"}, Short: "Show a kernel in full",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeKernels(),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return fail(operation(cmd), args[0], err)
			}
			kernel, err := client.Kernel(cmd.Context(), args[0])
			switch {
			case err != nil:
				return fail(operation(cmd), args[0], err)
			case f.json:
				return printJSON(a.out, kernel)
			}
			return a.showKernel(kernel)
		},
	}
	f.register(cmd, "")
	return cmd
}

func (a *app) showKernel(k api.Kernel) error {
	pairs := [][2]string{
		{"name", k.Name},
		{"id", k.ID},
		{"version", k.Version},
		{"arch", k.Arch},
		{"distro", k.Distro},
		{"source", k.Source},
	}
	pairs = append(pairs, file("vmlinux", k.Vmlinux)...)
	if k.Modules != nil {
		pairs = append(pairs, file("modules", *k.Modules)...)
	}
	return fields(a.out, append(pairs, [2]string{"created", stamp(&k.CreatedAt)})...)
}
