package cli

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/size"
)

// specFlags are the flags that say what VM is wanted.
type specFlags struct {
	spec     api.VMSpec
	env      []string
	envFiles []string
	labels   []string
}

func (s *specFlags) register(a *app, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&s.spec.Image, "image", "", "`REF` of the image (default from the configuration: debian-bookworm)")
	flags.StringVar(&s.spec.Pull, "pull", "", "when an image that is an OCI reference is pulled: `missing|always|never` (default missing)")
	flags.StringVar(&s.spec.Kernel, "kernel", "", "`REF` of the kernel (default: the image's)")
	flags.IntVar(&s.spec.VCPU, "vcpu", 0, "`NUMBER` of virtual CPUs")
	flags.Var((*sizeFlag)(&s.spec.Memory), "memory", "`SIZE` of the memory, like 512M or 2GiB")
	flags.Var((*sizeFlag)(&s.spec.DiskSize), "disk-size", "`SIZE` of the work disk at /root")
	flags.Var((*sizeFlag)(&s.spec.OverlaySize), "overlay-size", "`SIZE` of the disk that takes changes to the root file system")
	flags.StringVar(&s.spec.Net, "net", "", "what the guest may reach: `public|full|none`")
	flags.StringArrayVarP(&s.env, "env", "e", nil, "`KEY=VALUE` in the environment of every command; KEY alone takes banger's own value")
	flags.StringArrayVar(&s.envFiles, "env-file", nil, "`FILE` of such lines")
	flags.StringVarP(&s.spec.Workdir, "workdir", "w", "", "`DIR` in which commands run")
	flags.StringArrayVar(&s.labels, "label", nil, "`KEY=VALUE` to find the VM by")
	for flag, words := range map[string]completer{
		"image": a.completeImages(), "pull": fixed(policies...), "kernel": a.completeKernels(), "net": fixed("public", "full", "none"),
	} {
		_ = cmd.RegisterFlagCompletionFunc(flag, words) // the flag exists
	}
}

// resolve checks what was said and fills in the user's configured defaults for what was not.
func (s *specFlags) resolve(a *app, flags *pflag.FlagSet) (api.VMSpec, error) {
	spec := s.spec
	for flag, ok := range map[string]bool{
		"vcpu": spec.VCPU > 0, "memory": spec.Memory > 0, "disk-size": spec.DiskSize > 0, "overlay-size": spec.OverlaySize > 0,
		"image": spec.Image != "", "kernel": spec.Kernel != "",
	} {
		if flags.Changed(flag) && !ok {
			return spec, usagef("--%s %s: must be more than nothing", flag, or(flags.Lookup(flag).Value.String(), "0"))
		}
	}
	if err := checkPolicy(spec.Pull); err != nil {
		return spec, err
	}
	switch spec.Net {
	case "", "public", "full", "none":
	default:
		return spec, usagef("--net %q: must be public, full or none", spec.Net)
	}
	var err error
	if spec.Image, err = absoluteReference(spec.Image); err != nil {
		return spec, err
	}
	if spec.Env, err = environment(s.env, s.envFiles); err != nil {
		return spec, err
	}
	if spec.Labels, err = parseLabels(s.labels); err != nil {
		return spec, err
	}
	return s.fill(a, spec)
}

// fill adds the configured defaults. The daemon has some too, but of the time when it was started; these are of now,
// and of this environment. Only the kernel is left to the daemon, as it may be the image's.
func (s *specFlags) fill(a *app, spec api.VMSpec) (api.VMSpec, error) {
	c, err := a.defaults()
	if err != nil {
		return spec, err
	}
	for _, v := range []struct{ to, from *string }{{&spec.Image, &c.Image}, {&spec.Net, &c.Net}} {
		if *v.to == "" {
			*v.to = *v.from
		}
	}
	for _, v := range []struct{ to, from *int64 }{
		{&spec.Memory, &c.Memory}, {&spec.DiskSize, &c.DiskSize}, {&spec.OverlaySize, &c.OverlaySize},
	} {
		if *v.to == 0 {
			*v.to = *v.from
		}
	}
	if spec.VCPU == 0 {
		spec.VCPU = c.VCPU
	}
	return spec, nil
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// environment reads -e and --env-file. What comes later wins in the guest; the flags come last.
func environment(vars, files []string) ([]string, error) {
	var out []string
	for _, file := range files {
		lines, err := envFile(file)
		if err != nil {
			return nil, err
		}
		out = append(out, lines...)
	}
	for _, v := range vars {
		resolved, ok, err := envVar(v)
		if err != nil {
			return nil, usagef("--env %q: %w", v, err)
		}
		if ok {
			out = append(out, resolved)
		}
	}
	return out, nil
}

func envFile(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, usagef("--env-file: %w", err)
	}
	defer f.Close()
	var out []string
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		v, ok, err := envVar(line)
		if err != nil {
			return nil, usagef("--env-file %s:%d: %w", path, n, err)
		}
		if ok {
			out = append(out, v)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, usagef("--env-file %s: %w", path, err)
	}
	return out, nil
}

// envVar reads KEY=VALUE, or KEY for a variable of our own, which is left out when it is not set.
func envVar(text string) (variable string, ok bool, err error) {
	key, _, assigned := strings.Cut(text, "=")
	switch {
	case key == "" || strings.ContainsAny(key, " \t\x00") || strings.Contains(text, "\x00"):
		return "", false, fmt.Errorf("not KEY=VALUE")
	case assigned:
		return text, true, nil
	}
	value, ok := os.LookupEnv(key)
	return key + "=" + value, ok, nil
}

func parseLabels(pairs []string) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil //nolint:nilnil // no labels are no map
	}
	out := map[string]string{}
	for _, p := range pairs {
		key, value, _ := strings.Cut(p, "=")
		if key == "" {
			return nil, usagef("--label %q: not KEY=VALUE", p)
		}
		out[key] = value
	}
	return out, nil
}

// sizeFlag is a number of bytes.
type sizeFlag int64

func (f *sizeFlag) Set(text string) error {
	n, err := size.Parse(text)
	if err == nil {
		*f = sizeFlag(n)
	}
	return err
}

func (f *sizeFlag) String() string {
	if *f == 0 {
		return "" // shown as a default otherwise
	}
	return size.Format(int64(*f))
}

// Type is the word for it in help.
func (f *sizeFlag) Type() string { return "size" }
