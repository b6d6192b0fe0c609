package recipe

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/userns"
)

const (
	debianRelease = "bookworm"
	debianName    = "debian-" + debianRelease
	mmdebstrap    = "mmdebstrap"
)

// debianPackages come on top of the required ones: what a developer expects to find in a machine. Compilers are left
// out, as they would double its size: `apt install build-essential` takes seconds. So is udev: devtmpfs and the agent
// do what it would, and the machine starts faster.
var debianPackages = []string{
	"systemd", "systemd-sysv", "dbus", // init
	"apt-utils", "ca-certificates", "debian-archive-keyring", "sudo", "kmod", "procps", // the system
	"iproute2", "iputils-ping", "netcat-openbsd", "curl", "openssh-client", "rsync", // the network
	"git", "make", "vim-tiny", "less", "file", "bash-completion", // work
	"bzip2", "unzip", "xz-utils", "zstd", // archives
}

// debianLeftOut are files of packages that only readers of documentation miss. It also holds for what is installed in
// the guest later. Copyright files stay.
var debianLeftOut = []string{
	"path-exclude=/usr/share/doc/*", "path-include=/usr/share/doc/*/copyright", "path-exclude=/usr/share/man/*",
	"path-exclude=/usr/share/info/*", "path-exclude=/usr/share/locale/*", "path-include=/usr/share/locale/locale.alias",
}

// debianOnDemand are units that systemd's package has started with every machine, by a symbolic link that is left out.
// Each takes its part of a start and does nothing for a machine whose disks, clock, entropy and network the agent sets
// up, and which nobody's console is attached to. They are there for whoever starts them: D-Bus starts itself, and
// logind, on the first call.
var debianOnDemand = []string{
	"dev-hugepages.mount", "sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "sys-kernel-debug.mount",
	"sys-kernel-tracing.mount", "systemd-ask-password-console.path", "systemd-ask-password-wall.path",
	"systemd-firstboot.service", "systemd-journal-flush.service", "systemd-pcrphase.service", "systemd-pcrphase-sysinit.service",
	"systemd-random-seed.service", "systemd-repart.service", "systemd-update-utmp.service",
	"systemd-update-utmp-runlevel.service", "systemd-logind.service", "dbus.service", "getty.target",
}

// confined runs a program in the directory $1 so that it can write there, but not to the host's root file system:
// the program may be root, and should it ever mistake the host for what it makes, nothing happens.
const confined = `mount --bind "$1" "$1" && mount -o remount,bind,ro / && cd "$1" && shift && exec "$@"`

// debianCustomize is run by sh outside of the new root file system, whose path is its first argument.
//
//go:embed debian.sh
var debianCustomize string

// Debian is the release's root file system, made by mmdebstrap from the distribution's signed packages.
type Debian struct {
	mirror  string
	etcApt  string // of the host
	keyring string // of the host
}

// NewDebian makes the recipe; see Options for mirror.
func NewDebian(mirror string) *Debian {
	return &Debian{mirror: mirror, etcApt: "/etc/apt", keyring: debianKeyring}
}

// Name implements Recipe.
func (*Debian) Name() string { return debianName }

// Config implements Recipe.
func (*Debian) Config() api.ImageConfig {
	return api.ImageConfig{
		Cmd: []string{"/bin/bash", "-l"},
		Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"},
	}
}

// Open implements Recipe.
func (d *Debian) Open(ctx context.Context, scratch string) (Stream, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	args, err := d.arguments(scratch)
	if err != nil {
		return nil, err
	}
	tmp := filepath.Join(scratch, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return nil, err
	}
	cmd := userns.Command(ctx, "sh", append([]string{"-c", confined, "sh", scratch, mmdebstrap}, args...)...)
	cmd.Env = environment(tmp)
	return startProcess(ctx, cmd, newProgress(ctx, debianName))
}

func (d *Debian) check() error {
	if _, err := exec.LookPath(mmdebstrap); err != nil {
		return errdefs.WithHint(errdefs.As(errdefs.ErrUnavailable, fmt.Errorf("find mmdebstrap: %w", err)),
			"install the package mmdebstrap")
	}
	if _, err := os.Stat(d.keyring); err != nil {
		return errdefs.WithHint(errdefs.As(errdefs.ErrUnavailable, fmt.Errorf("find Debian's keys: %w", err)),
			"install the package debian-archive-keyring")
	}
	return nil
}

// arguments writes the apt sources to scratch and returns mmdebstrap's arguments. The tar archive goes to stdout.
func (d *Debian) arguments(scratch string) ([]string, error) {
	args := []string{
		// Called by root, which it is here, this mode has mounts of its own but makes no other user namespace.
		"--mode=unshare", "--variant=minbase", "--format=tar", "--architectures=" + runtime.GOARCH,
		"--include=" + strings.Join(debianPackages, ","),
		`--aptopt=Acquire::Languages "none"`, `--aptopt=Acquire::Retries "3"`,
		"--dpkgopt=force-unsafe-io",
		"--customize-hook=" + debianCustomize,
	}
	for _, option := range debianLeftOut {
		args = append(args, "--dpkgopt="+option)
	}
	for _, unit := range debianOnDemand {
		args = append(args, "--dpkgopt=path-exclude=*/systemd/system/*.wants/"+unit)
	}
	args = append(args, debianRelease, "-")
	sources, err := d.sources()
	if err != nil || len(sources) == 0 { // mmdebstrap knows where Debian is
		return args, err
	}
	file := filepath.Join(scratch, "debian.sources")
	return append(args, file), os.WriteFile(file, []byte(formatDeb822(sources)), 0o600)
}

// sources returns where packages come from, here and in the guest: the mirror that the user has chosen, with the
// host's source of security updates; else the host's sources; nothing when it has none of this release.
func (d *Debian) sources() ([]aptSource, error) {
	host, err := hostSources(d.etcApt, debianRelease)
	if err != nil {
		return nil, err
	}
	if d.mirror == "" {
		if !slices.ContainsFunc(host, func(s aptSource) bool { return slices.Contains(s.Suites, debianRelease) }) {
			return nil, nil
		}
		return host, nil
	}
	chosen := []aptSource{{
		Types: []string{"deb"}, URIs: []string{d.mirror}, Suites: []string{debianRelease, debianRelease + "-updates"},
		Components: []string{"main"}, SignedBy: debianKeyring,
	}}
	for _, s := range host {
		if security := debianRelease + "-security"; slices.Contains(s.Suites, security) {
			s.Suites = []string{security}
			chosen = append(chosen, s)
		}
	}
	return chosen, nil
}

// environment is what mmdebstrap, apt and the maintainer scripts see. Of the user's, only proxies matter.
func environment(tmp string) []string {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=" + tmp, "TMPDIR=" + tmp,
		"DEBIAN_FRONTEND=noninteractive", "SOURCE_DATE_EPOCH=" + strconv.FormatInt(epoch(time.Now()).Unix(), 10),
	}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasSuffix(strings.ToLower(name), "_proxy") {
			env = append(env, v)
		}
	}
	return env
}

// epoch is the latest time that a file may have: SOURCE_DATE_EPOCH if it is set (reproducible-builds.org), else the
// beginning of the day, so that equal packages give equal images at least for a day.
func epoch(now time.Time) time.Time {
	if sec, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		return time.Unix(sec, 0)
	}
	return now.UTC().Truncate(24 * time.Hour)
}
