package boot

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// tree makes an image's files: "path" is an executable, "path -> target" a link, "path = other" a hard link, "path/" a
// directory, "path :" a file that is not executable.
func tree(t *testing.T, lines ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, line := range lines {
		f := strings.Fields(line)
		path := filepath.Join(root, f[0])
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch {
		case err != nil:
		case strings.HasSuffix(f[0], "/"):
			err = os.MkdirAll(path, 0o755)
		case len(f) == 1:
			err = os.WriteFile(path, nil, 0o755)
		case f[1] == ":":
			err = os.WriteFile(path, nil, 0o644)
		case f[1] == "->":
			err = os.Symlink(f[2], path)
		default:
			err = os.Link(filepath.Join(root, f[2]), path)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestDetect(t *testing.T) {
	for _, tc := range []struct {
		name    string
		files   []string
		cmdline string
		want    Init
	}{
		{name: "empty image", want: Init{Name: "agent"}},
		{name: "systemd", files: []string{"usr/lib/systemd/systemd", "lib -> usr/lib", "sbin/init -> ../usr/lib/systemd/systemd"}, want: Init{"systemd", "/usr/lib/systemd/systemd"}},
		{name: "systemd, usr not merged", files: []string{"lib/systemd/systemd"}, want: Init{"systemd", "/lib/systemd/systemd"}},
		{name: "systemd without the executable bit", files: []string{"usr/lib/systemd/systemd :"}, want: Init{Name: "agent"}},
		{name: "agent forced", files: []string{"usr/lib/systemd/systemd"}, cmdline: "quiet banger.init=agent", want: Init{Name: "agent"}},
		{name: "another argument", files: []string{"usr/lib/systemd/systemd"}, cmdline: "banger.init=agents", want: Init{"systemd", "/usr/lib/systemd/systemd"}},
		{name: "busybox", files: []string{"bin/busybox", "sbin/init -> ../bin/busybox"}, want: Init{Name: "agent"}},
		{name: "busybox by a hard link", files: []string{"bin/busybox", "sbin/", "sbin/init = bin/busybox"}, want: Init{Name: "agent"}},
		{name: "busybox with openrc", files: []string{"bin/busybox", "sbin/openrc", "sbin/init -> ../bin/busybox"}, want: Init{"openrc", "/sbin/init"}},
		{name: "tini", files: []string{"usr/bin/tini", "sbin/init -> ../usr/bin/tini"}, want: Init{Name: "agent"}},
		{name: "sysvinit", files: []string{"sbin/init"}, want: Init{"sysvinit", "/sbin/init"}},
		{name: "runit", files: []string{"sbin/runit-init", "sbin/init -> runit-init"}, want: Init{"runit-init", "/sbin/init"}},
		{name: "dangling link", files: []string{"sbin/init -> /nowhere/at/all"}, want: Init{Name: "agent"}},
		{name: "directory", files: []string{"sbin/init/"}, want: Init{Name: "agent"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := detect(tree(t, tc.files...), strings.Fields(tc.cmdline)); got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestSetMachineID(t *testing.T) {
	fresh := regexp.MustCompile(`^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}\n$`)
	const own = "0123456789abcdef0123456789abcdef\n"
	for _, tc := range []struct {
		name, old string
		absent    bool
		keep      bool
	}{
		{name: "absent", absent: true},
		{name: "empty"},
		{name: "white space", old: "\n"},
		{name: "uninitialized", old: "uninitialized\n"},
		{name: "the image's own", old: own, keep: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "machine-id")
			if !tc.absent {
				if err := os.WriteFile(file, []byte(tc.old), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := setMachineID(file); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(file)
			if err != nil || (tc.keep && string(b) != tc.old) || (!tc.keep && !fresh.Match(b)) {
				t.Errorf("got %q, error %v", b, err)
			}
		})
	}
}

func TestAddSystemd(t *testing.T) {
	run := t.TempDir()
	if err := addSystemd(run); err != nil {
		t.Fatal(err)
	}
	wanted := filepath.Join(run, "systemd/system/sysinit.target.wants/banger-agent.service")
	if b, err := os.ReadFile(wanted); err != nil || !strings.Contains(string(b), "ExecStart="+AgentFile+" serve\n") {
		t.Errorf("the unit is not wanted: %q, error %v", b, err)
	}
	for _, link := range []string{"system/systemd-networkd.service", "system-generators/systemd-fstab-generator", "network/99-default.link"} {
		if target, err := os.Readlink(filepath.Join(run, "systemd", link)); err != nil || target != os.DevNull {
			t.Errorf("%s leads to %q, error %v", link, target, err)
		}
	}
}

func TestHasFiles(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files []string
		want  bool
	}{
		{name: "absent"},
		{name: "empty", files: []string{"docker/"}},
		{name: "directories only", files: []string{"docker/a/b/", "docker/c/"}},
		{name: "a file below", files: []string{"docker/a/b/file"}, want: true},
		{name: "a link", files: []string{"docker/link -> nowhere"}, want: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := hasFiles(filepath.Join(tree(t, tc.files...), "docker"))
			if err != nil || got != tc.want {
				t.Errorf("got %v, error %v", got, err)
			}
		})
	}
}

func TestInMemory(t *testing.T) {
	if err := inMemory("/proc"); err == nil {
		t.Error("takes /proc for an initramfs")
	}
	if err := inMemory("/no/such"); err == nil {
		t.Error("takes nothing for an initramfs")
	}
}

func TestReadReportOutsideAGuest(t *testing.T) {
	if _, err := os.Stat(ReportFile); err == nil {
		t.Skip("this is a guest")
	}
	if r, err := ReadReport(); err != nil || r.Init != "" {
		t.Errorf("got %+v, error %v", r, err)
	}
}
