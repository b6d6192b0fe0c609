package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/cli/progress"
	"github.com/banger-dev/banger/internal/ref"
)

// parallel bounds how many subjects of one command are worked on at a time.
const parallel = 16

// each works on subjects concurrently and prints what work returns in the order given, each line as soon as those
// before it are there. A failed one is reported in its place and does not stop the others.
func (a *app) each(display *progress.Display, operation string, subjects []string, work func(i int) (string, error)) error {
	type outcome struct {
		line string
		err  error
	}
	outcomes := make([]chan outcome, len(subjects))
	for i := range outcomes {
		outcomes[i] = make(chan outcome, 1)
	}
	var group errgroup.Group
	group.SetLimit(parallel)
	go func() {
		for i := range subjects {
			group.Go(func() error {
				line, err := work(i)
				outcomes[i] <- outcome{line, err}
				return nil
			})
		}
	}()
	var failed error
	for i := range subjects {
		switch o := <-outcomes[i]; {
		case o.err != nil && len(subjects) == 1:
			return fail(operation, subjects[i], o.err)
		case o.err != nil:
			failed = status(a.report(display, fail(operation, subjects[i], o.err)))
		case o.line != "":
			if err := display.Print(a.out, o.line+"\n"); err != nil {
				return err
			}
		}
	}
	return failed
}

// act does something to one VM.
type act func(ctx context.Context, c *api.Client, vm api.VM, progress api.Progress) error

// eachVM resolves refs by one listing and acts on the VMs concurrently, printing their names in the order given.
func (a *app) eachVM(cmd *cobra.Command, refs []string, act act) error {
	return a.eachVMOr(cmd, refs, act, func(err error) error { return err })
}

// eachVMOr is eachVM where absent decides what it means that a reference names no VM.
func (a *app) eachVMOr(cmd *cobra.Command, refs []string, act act, absent func(error) error) error {
	ctx, operation := cmd.Context(), operation(cmd)
	client, err := a.client()
	if err != nil {
		return fail(operation, "", err)
	}
	vms, err := client.VMs(ctx)
	if err != nil {
		return fail(operation, "", err)
	}
	refs = once(refs)
	display := a.display()
	defer display.Close()
	return a.each(display, operation, refs, func(i int) (string, error) {
		vm, err := findVM(vms, refs[i])
		if err != nil {
			return "", absent(err)
		}
		task := display.Task(operation + " " + vm.Name)
		defer task.Done()
		return vm.Name, act(ctx, client, vm, task.Report)
	})
}

// display shows the progress of operations until it is closed.
func (a *app) display() *progress.Display {
	return progress.New(a.err, progress.ModeFor(a.err, a.quiet))
}

// report prints err among the progress of others and returns the exit status that it calls for.
func (a *app) report(display *progress.Display, err error) int {
	_ = display.Print(a.err, describe(err)) // nobody reads standard error then
	return exitStatus(err)
}

// findVM resolves a reference by a listing.
func findVM(vms []api.VM, name string) (api.VM, error) {
	return ref.Resolve("vm", vms, func(vm api.VM) (string, string) { return vm.ID, vm.Name }, name)
}

// once drops what was said twice.
func once(refs []string) []string {
	var out []string
	for _, r := range refs {
		if !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}
