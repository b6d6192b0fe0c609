package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/size"
)

func newImageShow(a *app) *cobra.Command {
	var f format
	cmd := &cobra.Command{
		Use: "show REF", Aliases: []string{"inspect"}, Short: "Show an image in full",
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeImages(),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return fail(operation(cmd), args[0], err)
			}
			image, err := client.Image(cmd.Context(), args[0])
			switch {
			case err != nil:
				return fail(operation(cmd), args[0], err)
			case f.json:
				return printJSON(a.out, image)
			}
			return a.showImage(image)
		},
	}
	f.register(cmd, "")
	return cmd
}

func (a *app) showImage(i api.Image) error {
	seed := [][2]string{{"work seed", a.style.Doubtful("none: guests get an empty /root")}}
	if i.SeedError != "" {
		seed = [][2]string{{"work seed", a.style.Doubtful("none, so guests get an empty /root; making one failed: " + printable(i.SeedError))}}
	}
	if i.WorkSeed != nil {
		seed = file("work seed", *i.WorkSeed)
	}
	pairs := [][2]string{
		{"name", i.Name},
		{"id", i.ID},
		{"kind", i.Kind},
		{"source", i.Source},
		{"digest", i.Digest},
		{"platform", i.Platform},
		{"kernel", i.Kernel},
	}
	pairs = append(pairs, file("rootfs", i.Rootfs)...)
	pairs = append(pairs, seed...)
	pairs = append(pairs,
		[2]string{"entrypoint", strings.Join(i.Config.Entrypoint, " ")},
		[2]string{"command", strings.Join(i.Config.Cmd, " ")},
		[2]string{"env", strings.Join(i.Config.Env, " ")},
		[2]string{"user", i.Config.User},
		[2]string{"workdir", i.Config.Workdir},
		[2]string{"ports", strings.Join(i.Config.ExposedPorts, " ")},
		[2]string{"labels", labels(i.Labels)},
		[2]string{"created", stamp(&i.CreatedAt)},
	)
	return fields(a.out, pairs...)
}

// file describes a published file.
func file(name string, f api.File) [][2]string {
	return [][2]string{
		{name, f.Path},
		{"  size", fmt.Sprintf("%s, %s on disk", size.Format(f.Size), size.Format(f.Allocated))},
		{"  sha256", f.SHA256},
	}
}
