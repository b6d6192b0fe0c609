package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/image/oci"
)

// policies are the values of --pull.
var policies = []string{oci.PullMissing, oci.PullAlways, oci.PullNever}

func newImagePull(a *app) *cobra.Command {
	var (
		req api.ImagePull
		f   format
	)
	cmd := &cobra.Command{
		Use: "pull REFERENCE", Short: "Make an image of an OCI image",
		Long: "Make an image of what REFERENCE names:\n\n" +
			"  debian-bookworm, minimal     a recipe, as with image build\n" +
			"  NAME[:TAG][@DIGEST]          an image in a registry, as docker and podman know it, with their credentials\n" +
			"  oci:DIR[:TAG]                an OCI image layout\n" +
			"  oci-archive:FILE[:TAG]       a tar archive of one\n" +
			"  docker-archive:FILE[:TAG]    what docker save writes\n" +
			"  archive:FILE[:TAG]           either of the two\n\n" +
			"An image from a registry is called after its reference unless --name is given, and replaced when the reference means\n" +
			"something else by now. Layers are kept in a cache, so that what was pulled once needs no network.",
		Example: "  banger image pull alpine:3.20\n  banger image pull --ca ca.pem registry.example/team/app@sha256:…\n  docker save app > app.tar && banger image pull docker-archive:app.tar",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: fixed("debian-bookworm", "minimal"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := checkPolicy(req.Policy); err != nil {
				return err
			}
			if req.Reference, err = absoluteReference(args[0]); err != nil {
				return fail(operation(cmd), args[0], err)
			}
			if req.CAFile, err = absolute(req.CAFile); err != nil {
				return fail(operation(cmd), args[0], err)
			}
			return a.makeImage(cmd, args[0], f, func(c *api.Client, progress api.Progress) (api.Image, error) {
				return c.PullImage(cmd.Context(), req, progress)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&req.Name, "name", "", "`NAME` of the image (default: made of the reference)")
	flags.StringVar(&req.Platform, "platform", "", "`OS/ARCH[/VARIANT]` (default: linux on this machine's processor)")
	flags.StringVar(&req.Policy, "pull", "", "when the registry is asked: `missing|always|never` (default always, unless it cannot be reached)")
	flags.BoolVar(&req.Insecure, "insecure", false, "the registry may speak plain HTTP or show a certificate that cannot be verified")
	flags.StringVar(&req.CAFile, "ca", "", "`FILE` of PEM certificates to trust besides the system's")
	flags.StringVar(&req.Kernel, "kernel", "", "`REF` of the kernel that it boots with (default from the configuration)")
	flags.BoolVar(&req.Force, "force", false, "make it again, and replace any image of that name")
	_ = cmd.RegisterFlagCompletionFunc("pull", fixed(policies...))    // the flag exists
	_ = cmd.RegisterFlagCompletionFunc("kernel", a.completeKernels()) // as above
	f.register(cmd, "")
	a.registerQuiet(cmd)
	return cmd
}

// makeImage runs an operation that makes an image and prints the image's name, or all of it as JSON.
func (a *app) makeImage(cmd *cobra.Command, subject string, f format, run func(*api.Client, api.Progress) (api.Image, error)) error {
	client, err := a.client()
	if err != nil {
		return fail(operation(cmd), subject, err)
	}
	display := a.display()
	image, err := run(client, display.Task(join(operation(cmd), subject)).Report)
	display.Close()
	switch {
	case err != nil:
		return fail(operation(cmd), subject, err)
	case f.json:
		return printJSON(a.out, image)
	}
	return display.Print(a.out, image.Name+"\n")
}

func checkPolicy(policy string) error {
	if policy == "" || slices.Contains(policies, policy) {
		return nil
	}
	return usagef("--pull %q: must be %s", policy, strings.Join(policies, ", "))
}

// absolute completes a path of the user's for the daemon, which has another working directory.
func absolute(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}

// absoluteReference does the same for the path in an OCI reference.
func absoluteReference(reference string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	return oci.Absolute(reference, dir), nil
}
