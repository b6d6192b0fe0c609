package cli

import (
	"context"
	"slices"

	"github.com/banger-dev/banger/api"
)

// entrypoint returns what the VM's image runs, where it has no shell that a user without a command could be given.
// Otherwise it returns nothing.
func entrypoint(ctx context.Context, c *api.Client, vm api.VM) ([]string, error) {
	image, err := c.Image(ctx, vm.ImageID)
	if err != nil {
		return nil, err
	}
	command := slices.Concat(image.Config.Entrypoint, image.Config.Cmd)
	if len(command) == 0 {
		return nil, nil
	}
	probe, err := c.Exec(ctx, vm.ID, api.ExecRequest{Command: []string{"/bin/sh", "-c", ":"}}, api.Streams{})
	if err != nil || probe.Error == "" {
		return nil, err
	}
	return command, nil
}
