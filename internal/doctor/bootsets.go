package doctor

import (
	"context"
	"os"
	"strings"

	"github.com/banger-dev/banger/api"
)

// images checks the default image and the files of all. Without a store there is nothing to say: its own check does.
func images(ctx context.Context, o Options) []api.Check {
	all, ok := allImages(ctx, o)
	if !ok {
		return nil
	}
	found := []api.Check{warn("default image", "none is needed: the first `banger vm run` makes it; `banger image build "+
		o.Config.Image+"` does so now", "%s has not been made yet", o.Config.Image)}
	for _, i := range all {
		if i.Name == o.Config.Image {
			found[0] = pass("default image", "%s (%s)", i.Name, i.ID)
		}
	}
	for _, i := range all {
		again := "pull it again with --force, or delete it"
		if recipe, ok := strings.CutPrefix(i.Source, "build:"); ok {
			again = "run: banger image build --force " + recipe
		}
		files := []api.File{i.Rootfs}
		if i.WorkSeed != nil {
			files = append(files, *i.WorkSeed)
		}
		found = append(found, filesOf("image "+i.Name, again, files))
	}
	return found
}

// workDisk tells which images leave their guests' /root empty.
func workDisk(ctx context.Context, o Options) []api.Check {
	const name = "feature /root work disk"
	all, ok := allImages(ctx, o)
	if !ok {
		return nil
	}
	var without []string
	for _, i := range all {
		if i.WorkSeed == nil {
			without = append(without, i.Name)
		}
	}
	if len(without) > 0 {
		return []api.Check{warn(name, "banger image seed "+strings.Join(without, "; banger image seed "),
			"without a work seed, so that guest /root will be empty: %s", strings.Join(without, ", "))}
	}
	return []api.Check{pass(name, "%s with a work seed", countOf(len(all), "image", "images"))}
}

// kernels checks the default kernel and the files of all.
func kernels(ctx context.Context, o Options) []api.Check {
	if o.Records == nil {
		return nil
	}
	all, err := o.Records.Kernels(ctx)
	if err != nil {
		return nil
	}
	found := []api.Check{warn("default kernel", "none is needed: the first `banger vm run` fetches it; `banger kernel pull "+
		o.Config.Kernel+"` does so now", "%s has not been fetched yet", o.Config.Kernel)}
	for _, k := range all {
		if k.Name == o.Config.Kernel {
			found[0] = pass("default kernel", "%s (%s, %s)", k.Name, k.ID, k.Version)
		}
	}
	for _, k := range all {
		files := []api.File{k.Vmlinux}
		if k.Modules != nil {
			files = append(files, *k.Modules)
		}
		found = append(found, filesOf("kernel "+k.Name, "pull or import it again with --force", files))
	}
	return found
}

func allImages(ctx context.Context, o Options) ([]api.Image, bool) {
	if o.Records == nil {
		return nil, false
	}
	all, err := o.Records.Images(ctx)
	return all, err == nil
}

// filesOf checks that published files are still what the records say, as far as a look without reading them can tell.
func filesOf(name, again string, files []api.File) api.Check {
	var total int64
	for _, f := range files {
		info, err := os.Stat(f.Path)
		switch {
		case err != nil:
			return fail(name, again, "%v", err)
		case !info.Mode().IsRegular():
			return fail(name, again, "%s is not a file", f.Path)
		case info.Size() != f.Size:
			return fail(name, again, "%s has %d bytes, the record says %d", f.Path, info.Size(), f.Size)
		}
		total += f.Allocated
	}
	return pass(name, "%s, %d MiB on disk", countOf(len(files), "file", "files"), total>>20)
}
