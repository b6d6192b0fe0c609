package apt

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
)

// show returns the candidate version of a package, nil when apt does not know the package.
func show(ctx context.Context, name string) (*Package, error) {
	cmd := command(ctx, "", "apt-cache", "show", "--no-all-versions", "--", name)
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.As(err, &exit) && (exit.ExitCode() == 100):
		return nil, nil // "E: No packages found", "E: Unable to locate package"
	case errors.As(err, &exit):
		return nil, errdefs.New(errdefs.ErrUnavailable, "apt-cache show %s: %s", name, lastLine(exit.Stderr, err))
	case err != nil:
		return nil, fmt.Errorf("apt-cache show %s: %w", name, err)
	}
	p, err := parse(out)
	if err != nil {
		return nil, errdefs.New(errdefs.ErrUnavailable, "apt-cache show %s: %w", name, err)
	}
	return p, nil
}

// parse reads the first paragraph of apt-cache's output (deb822(5)); nil when there is none, as for virtual packages.
func parse(out []byte) (*Package, error) {
	var p Package
	s := bufio.NewScanner(bytes.NewReader(out))
	s.Buffer(nil, 1<<20)
	for s.Scan() && s.Text() != "" {
		key, value, _ := strings.Cut(s.Text(), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "Package":
			p.Name = value
		case "Version":
			p.Version = value
		case "SHA256":
			p.SHA256 = value
		case "Size":
			size, err := strconv.ParseInt(value, 10, 64)
			if err != nil || size < 0 {
				return nil, fmt.Errorf("bad size %q", value)
			}
			p.Size = size
		case "Depends", "Pre-Depends":
			p.depends = append(p.depends, dependencies(value)...)
		}
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	if p.Name == "" {
		return nil, nil
	}
	if strings.HasPrefix(p.Name, "-") || p.Version == "" {
		return nil, fmt.Errorf("package %q has no version", p.Name)
	}
	return &p, nil
}

// dependencies returns the names in a Depends field, alternatives included, in their order.
func dependencies(field string) []string {
	var names []string
	for alternative := range strings.FieldsFuncSeq(field, func(r rune) bool { return r == ',' || r == '|' }) {
		name, _, _ := strings.Cut(strings.TrimSpace(alternative), " ")
		name, _, _ = strings.Cut(name, ":") // an architecture
		names = append(names, name)
	}
	return names
}
