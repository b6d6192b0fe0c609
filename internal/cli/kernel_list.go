package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/size"
)

func newKernelList(a *app) *cobra.Command {
	var (
		f         format
		available bool
	)
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List kernels", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return fail(operation(cmd), "", err)
			}
			if available {
				return a.listOffers(cmd, client, f)
			}
			kernels, err := client.Kernels(cmd.Context())
			switch {
			case err != nil:
				return fail(operation(cmd), "", err)
			case f.json:
				return printJSON(a.out, kernels)
			}
			t := table{header: []string{"NAME", "ID", "VERSION", "ARCH", "SIZE", "SOURCE", "CREATED"}}
			for _, k := range kernels {
				if f.quiet {
					if _, err := fmt.Fprintln(a.out, k.ID); err != nil {
						return err
					}
				}
				total := k.Vmlinux.Allocated
				if k.Modules != nil {
					total += k.Modules.Allocated
				}
				t.add(k.Name, k.ID, k.Version, k.Arch, size.Format(total), brief(k.Source), age(k.CreatedAt))
			}
			if f.quiet {
				return nil
			}
			return t.print(a.out)
		},
	}
	cmd.Flags().BoolVar(&available, "available", false, "list what kernel pull takes instead")
	f.register(cmd, "print ids only")
	return cmd
}

// listOffers prints what can be pulled.
func (a *app) listOffers(cmd *cobra.Command, client *api.Client, f format) error {
	offers, err := client.AvailableKernels(cmd.Context())
	switch {
	case err != nil:
		return fail(operation(cmd), "", err)
	case f.json:
		return printJSON(a.out, offers)
	}
	t := table{header: []string{"NAME", "VERSION", "ARCH", "DISTRO", "DESCRIPTION"}}
	for _, o := range offers {
		if f.quiet {
			if _, err := fmt.Fprintln(a.out, o.Name); err != nil {
				return err
			}
		}
		t.add(o.Name, o.Version, o.Arch, o.Distro, printable(o.Description))
	}
	if f.quiet {
		return nil
	}
	return t.print(a.out)
}
