package doctor

import (
	"context"

	"github.com/banger-dev/banger/api"
)

// programs checks those of the host that single commands need.
func programs(_ context.Context, o Options) []api.Check {
	var found []api.Check
	for _, p := range []struct{ name, pkg, need string }{
		{"mmdebstrap", "mmdebstrap", "`image build debian-bookworm` needs it"},
		{"apt-get", "apt", "`kernel pull` and `image build` need it"},
	} {
		path, err := o.Host.LookPath(p.name)
		if err != nil {
			found = append(found, warn(p.name, "install the package "+p.pkg, "not found: %s", p.need))
			continue
		}
		found = append(found, pass(p.name, "%s", path))
	}
	return found
}

// namespaces checks whether a user who is not root can build images.
func namespaces(ctx context.Context, o Options) []api.Check {
	const name = "user namespaces"
	if err := o.Host.Namespaces(ctx); err != nil {
		return []api.Check{warn(name, remedy(err, "allow unprivileged user namespaces, or build images as root"),
			"%v; `image build debian-bookworm` needs them", err)}
	}
	if o.Host.UID() == 0 {
		return []api.Check{pass(name, "not needed by root")}
	}
	return []api.Check{pass(name, "allowed, with subordinate ids")}
}
