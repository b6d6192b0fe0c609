package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/size"
)

func newVMShow(a *app) *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use: "show REF", Aliases: []string{"inspect"}, Short: "Show a VM in full",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeVMs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return fail(operation(cmd), args[0], err)
			}
			vm, err := client.VM(cmd.Context(), args[0])
			switch {
			case err != nil:
				return fail(operation(cmd), args[0], err)
			case f.json:
				return printJSON(a.out, vm)
			}
			return a.showVM(vm)
		},
	}
	f.register(cmd, "")
	return cmd
}

func (a *app) showVM(vm api.VM) error {
	err := fields(a.out,
		[2]string{"name", vm.Name},
		[2]string{"id", vm.ID},
		[2]string{"state", stateCell(a.style, vm)},
		[2]string{"image", fmt.Sprintf("%s (%s)", vm.Image, vm.ImageID)},
		[2]string{"kernel", vm.Kernel},
		[2]string{"vcpu", fmt.Sprint(vm.VCPU)},
		[2]string{"memory", size.Format(vm.Memory)},
		[2]string{"disk", size.Format(vm.DiskSize) + " at /root"},
		[2]string{"overlay", size.Format(vm.OverlaySize)},
		[2]string{"net", vm.Net},
		[2]string{"env", strings.Join(vm.Env, " ")},
		[2]string{"workdir", vm.Workdir},
		[2]string{"labels", labels(vm.Labels)},
		[2]string{"auto-remove", when(vm.AutoRemove, "yes")},
		[2]string{"created", stamp(&vm.CreatedAt)},
		[2]string{"started", stamp(vm.StartedAt)},
		[2]string{"stopped", stamp(vm.StoppedAt)},
		[2]string{"boot time", when(vm.BootMS > 0, fmt.Sprintf("%dms", vm.BootMS))},
		[2]string{"driver", join(vm.Driver, vm.Accelerator)},
		[2]string{"init", vm.Init},
		[2]string{"boot id", vm.BootID},
		[2]string{"shim pid", when(vm.ShimPID > 0, fmt.Sprint(vm.ShimPID))},
		[2]string{"vmm pid", when(vm.VMMPID > 0, fmt.Sprint(vm.VMMPID))},
	)
	if err != nil || vm.Exit == nil {
		return err
	}
	if err := fields(a.out, [2]string{"last exit", join(vm.Exit.Reason, stamp(&vm.Exit.At))}, [2]string{"cause", vm.Exit.Detail}); err != nil {
		return err
	}
	for _, line := range vm.Exit.Console {
		if _, err := fmt.Fprintln(a.out, "  "+printable(line)); err != nil {
			return err
		}
	}
	return nil
}

// labels writes labels in the order of their keys.
func labels(m map[string]string) string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		out = append(out, key+"="+m[key])
	}
	return strings.Join(out, " ")
}

func when(condition bool, text string) string {
	if condition {
		return text
	}
	return ""
}

func join(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), " ")
}
