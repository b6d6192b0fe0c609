package cli

import (
	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
)

func newImageBuild(a *app) *cobra.Command {
	var req api.ImageBuild
	cmd := &cobra.Command{
		Use: "build {RECIPE | -f DOCKERFILE DIR}", Short: "Make an image on this machine",
		Long: "Make an image on this machine. Recipes:\n\n" +
			"  debian-bookworm  Debian 12 with systemd, git, curl, sudo and the usual small tools, from Debian's signed packages\n" +
			"  minimal          busybox alone, for quick tests\n\n" +
			"With -f, of a Dockerfile and the directory that it may copy from, by whichever of buildah, podman and docker there is.",
		Args: cobra.ExactArgs(1), ValidArgsFunction: completeBuild,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := buildRequest(cmd, &req, args[0]); err != nil {
				return err
			}
			return a.makeImage(cmd, args[0], format{}, func(c *api.Client, progress api.Progress) (api.Image, error) {
				return c.BuildImage(cmd.Context(), req, progress)
			})
		},
	}
	cmd.Flags().StringVar(&req.Name, "name", "", "name of the image (default: the recipe's)")
	cmd.Flags().StringVarP(&req.Dockerfile, "file", "f", "", "`DOCKERFILE` to build instead of a recipe")
	cmd.Flags().BoolVar(&req.Force, "force", false, "replace an image of that name")
	a.registerQuiet(cmd)
	return cmd
}

// buildRequest fills in what the argument means: a recipe, or with a Dockerfile a directory.
func buildRequest(cmd *cobra.Command, req *api.ImageBuild, argument string) (err error) {
	if req.Dockerfile == "" {
		req.Recipe = argument
		return nil
	}
	if req.Name == "" {
		return usagef("%s: -f needs a --name", operation(cmd))
	}
	if req.Dockerfile, err = absolute(req.Dockerfile); err == nil {
		req.Context, err = absolute(argument)
	}
	return err
}

func completeBuild(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if cmd.Flags().Changed("file") {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return fixed("debian-bookworm", "minimal")(cmd, args, prefix)
}

// registerQuiet adds the flag that leaves out progress.
func (a *app) registerQuiet(cmd *cobra.Command) {
	cmd.Flags().BoolVarP(&a.quiet, "quiet", "q", false, "show no progress")
}
