package qemu

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/vmm/child"
	"github.com/banger-dev/banger/internal/vmm/hostcache"
)

// floor is the first QEMU whose stream network back end takes an inherited socket.
var floor = version{7, 2, 0}

type version struct{ Major, Minor, Micro int }

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Micro) }

func (v version) less(w version) bool {
	if v.Major != w.Major {
		return v.Major < w.Major
	}
	if v.Minor != w.Minor {
		return v.Minor < w.Minor
	}
	return v.Micro < w.Micro
}

var versionLine = regexp.MustCompile(`(?m)^QEMU emulator version (\d{1,5})\.(\d{1,5})(?:\.(\d{1,5}))?`)

// parseVersion reads the output of --version.
func parseVersion(text string) (version, error) {
	m := versionLine.FindStringSubmatch(text)
	if m == nil {
		return version{}, fmt.Errorf("no version in %.80q", text)
	}
	var v version
	for i, field := range []*int{&v.Major, &v.Minor, &v.Micro} {
		if m[i+1] != "" {
			*field, _ = strconv.Atoi(m[i+1]) // at most five digits
		}
	}
	return v, nil
}

// version asks the binary, once until it changes or the host reboots.
func (d *Driver) version(ctx context.Context, binary string) (version, error) {
	info, err := os.Stat(binary)
	if err != nil {
		return version{}, errdefs.As(errdefs.ErrUnavailable, fmt.Errorf("find qemu: %w", err))
	}
	key := fmt.Sprintf("qemu version %s %d %d", binary, info.Size(), info.ModTime().UnixNano())
	v, err := hostcache.Get(d.o.CacheDir, key, func() (version, error) { return askVersion(ctx, binary) })
	if err != nil {
		return version{}, err
	}
	if v.less(floor) {
		err := errdefs.New(errdefs.ErrUnavailable, "use %s: version %s is older than %s", binary, v, floor)
		return version{}, errdefs.WithHint(err, "install QEMU %s or later", floor)
	}
	return v, nil
}

func askVersion(ctx context.Context, binary string) (version, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "--version")
	cmd.Env = child.Environment()
	text, err := cmd.Output()
	if err != nil {
		return version{}, errdefs.New(errdefs.ErrUnavailable, "ask %s for its version: %w", binary, err)
	}
	v, err := parseVersion(string(text))
	if err != nil {
		return version{}, errdefs.New(errdefs.ErrUnavailable, "ask %s for its version: %w", binary, err)
	}
	return v, nil
}
