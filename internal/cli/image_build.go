package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
)

func newImageBuild(a *app) *cobra.Command {
	var req api.ImageBuild
	cmd := &cobra.Command{
		Use: "build RECIPE", Short: "Make an image on this machine",
		Long: "Make an image on this machine. Recipes:\n\n" +
			"  debian-bookworm  Debian 12 with systemd, git, curl, sudo and the usual small tools, from Debian's signed packages\n" +
			"  minimal          busybox alone, for quick tests",
		Args: cobra.ExactArgs(1), ValidArgsFunction: fixed("debian-bookworm", "minimal"),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Recipe = args[0]
			client, err := a.client()
			if err != nil {
				return fail(operation(cmd), req.Recipe, err)
			}
			display := a.display()
			image, err := client.BuildImage(cmd.Context(), req, display.Task(operation(cmd)+" "+req.Recipe).Report)
			display.Close()
			if err != nil {
				return fail(operation(cmd), req.Recipe, err)
			}
			_, err = fmt.Fprintln(a.out, image.Name)
			return err
		},
	}
	cmd.Flags().StringVar(&req.Name, "name", "", "name of the image (default: the recipe's)")
	cmd.Flags().BoolVar(&req.Force, "force", false, "replace an image of that name")
	a.registerQuiet(cmd)
	return cmd
}

// registerQuiet adds the flag that leaves out progress.
func (a *app) registerQuiet(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&a.quiet, "quiet", "q", false, "show no progress")
}
