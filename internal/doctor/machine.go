package doctor

import (
	"context"
	"debug/elf"
	"os"

	"github.com/banger-dev/banger/api"
)

// machine checks the VMM and how it runs guests.
func machine(ctx context.Context, o Options) []api.Check {
	c, err := o.Driver.Describe(ctx)
	if err != nil {
		return []api.Check{fail("qemu", remedy(err, "install QEMU 7.2 or later"), "%v", err)}
	}
	return []api.Check{pass("qemu", "%s %s", c.Driver, c.Version), accelerator(c.Accelerator, c.Reason)}
}

func accelerator(name, reason string) api.Check {
	if name == "kvm" {
		return pass("accelerator", "kvm: %s", reason)
	}
	return warn("accelerator",
		"none is needed; VMs start and compute faster on a host where /dev/kvm works and the user may open it",
		"%s, software emulation: %s", name, reason)
}

// agent checks the program that runs in every guest.
func agent(_ context.Context, o Options) []api.Check {
	const again = "build it with `make build`, or set agent in the configuration to its path"
	info, err := os.Stat(o.Agent)
	switch {
	case err != nil:
		return []api.Check{fail("agent", again, "%v", err)}
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
		return []api.Check{fail("agent", again, "%s is not an executable file", o.Agent)}
	}
	static, err := isStatic(o.Agent)
	switch {
	case err != nil:
		return []api.Check{fail("agent", again, "read %s: %v", o.Agent, err)}
	case !static:
		return []api.Check{fail("agent", "build it with CGO_ENABLED=0",
			"%s needs shared libraries, which guests do not have when it starts", o.Agent)}
	}
	return []api.Check{pass("agent", "%s", o.Agent)}
}

// isStatic tells whether an ELF file asks for no dynamic linker.
func isStatic(path string) (bool, error) {
	file, err := elf.Open(path)
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }() // read-only
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			return false, nil
		}
	}
	return true, nil
}
