package guest_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/banger-dev/banger/internal/fsutil"
	"github.com/banger-dev/banger/internal/guest"
	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/guest/wire"
	"github.com/banger-dev/banger/internal/vmm"
)

// busyboxImage has nothing but a static busybox and its names.
func busyboxImage(t *testing.T) []file {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal("busybox-static is needed:", err)
	}
	busybox, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	list, err := exec.Command(path, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := []file{{name: "bin", mode: 0o755}, {name: "sbin", mode: 0o755}, {name: "bin/busybox", content: busybox, mode: 0o755}, {name: "sbin/init", link: "/bin/busybox"}}
	for _, name := range strings.Fields(string(list)) {
		if name != "busybox" && name != "init" {
			files = append(files, file{name: "bin/" + name, link: "busybox"})
		}
	}
	return files
}

func TestPlainImage(t *testing.T) {
	l := theLab(t)
	d := makeDisks(t, archive(t, append(busyboxImage(t), file{name: "etc", mode: 0o755},
		file{name: "etc/resolv.conf", link: "../run/systemd/resolve/stub-resolv.conf"})...))
	m := start(t, l, d, "banger.debug")
	info, err := m.Info(timeout(t, time.Minute))
	if err != nil || info.Init != "agent" || info.Configured || len(info.Warnings) > 0 {
		t.Errorf("info %+v, error %v", info, err)
	}
	began := time.Now()
	info = m.identify(t)
	t.Logf("answered after %v (guest %d ms), identity %v", m.Answered, info.UptimeMS, time.Since(began))
	began = time.Now()
	for script, want := range map[string]string{
		"cat /proc/1/comm; hostname; cat /etc/hostname":                                "init\nlab-vm\nlab-vm",
		"cat /etc/resolv.conf":                                                         "nameserver 10.0.2.3",
		"pwd; echo $HOME $USER $PATH":                                                  "/root\n/root root /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"ip -4 addr show eth0 | grep -o 'inet [^ ]*'":                                  "inet 10.0.2.15/24",
		"ip -6 addr show eth0 | grep -o 'inet6 fd[^ ]*'":                               "inet6 fd62:616e:6765::15/64",
		"ip route | grep default":                                                      "default via 10.0.2.2 dev eth0 onlink ",
		"ip -6 route | grep -c 'default via fd62'":                                     "1",
		"cat /sys/class/net/eth0/mtu":                                                  "1400",
		"cat /sys/class/net/lo/operstate; ping -c1 127.0.0.1 >/dev/null && echo pong":  "unknown\npong",
		"cat /proc/self/oom_score_adj /proc/self/cgroup":                               "0\n0::/banger-exec",
		"ulimit -n; ulimit -Hn":                                                        "1024\n524288",
		"stat -c %a /tmp /dev/shm":                                                     "1777\n1777",
		"test $(date +%s) -gt 1700000000 && echo set":                                  "set",
		"df -P / | tail -1 | cut -d' ' -f1":                                            "overlay",
		"test $(df -Pk /root | tail -1 | awk '{print $2}') -gt 16000000 && echo grown": "grown",
		"modprobe dummy && grep -o ^dummy /proc/modules":                               "dummy",
		"stat -f -c %T /var/lib/docker /var/lib/containerd /var/lib/containers":        "ext2/ext3\next2/ext3\next2/ext3",
		"cat /sys/fs/cgroup/cgroup.subtree_control | grep -o memory":                   "memory",
		"ls /init /banger 2>&1 | grep -c 'No such'":                                    "2",
		"readlink /dev/fd; ls /dev/pts/ptmx":                                           "/proc/self/fd\n/dev/pts/ptmx",
	} {
		if got := m.out(t, script); got != want {
			t.Errorf("%s: got %q, want %q", script, got, want)
		}
	}
	t.Logf("20 commands in %v", time.Since(began))
	m.out(t, "echo kept >/root/file; echo kept >/usr-file; sleep 1000 >/dev/null 2>&1 &")
	m.end(t, proto.ShutdownRequest{}, vmm.CausePoweroff)
	checkClean(t, d)
	for _, disk := range []string{d.overlay, d.work} {
		if n, err := fsutil.Allocated(disk); err != nil || n > 64<<20 {
			t.Errorf("%s takes %d bytes, error %v", disk, n, err)
		} else {
			t.Logf("%s takes %d KiB", filepath.Base(disk), n>>10)
		}
	}

	// The same disks, another run.
	m = start(t, l, d, "")
	m.identify(t)
	if got := m.out(t, "cat /root/file /usr-file"); got != "kept\nkept" {
		t.Errorf("kept %q", got)
	}
	m.end(t, proto.ShutdownRequest{Reboot: true}, vmm.CauseReboot)
}

// checkClean checks the file systems that the guest left.
func checkClean(t *testing.T, d disks) {
	t.Helper()
	for _, disk := range []string{d.overlay, d.work} {
		if out, err := exec.Command("e2fsck", "-fn", disk).CombinedOutput(); err != nil {
			t.Errorf("e2fsck %s: %v\n%s", disk, err, out)
		}
		super, err := exec.Command("dumpe2fs", "-h", disk).Output()
		if err != nil || !strings.Contains(string(super), "Filesystem state:         clean") || strings.Contains(string(super), "needs_recovery") {
			t.Errorf("%s was not closed, error %v\n%s", disk, err, super)
		}
	}
}

// TestAgentSurvives kills the agent's server: PID 1 starts another, which knows who it is.
func TestAgentSurvives(t *testing.T) {
	l := theLab(t)
	m := start(t, l, makeDisks(t, archive(t, busyboxImage(t)...)), "")
	m.identify(t)
	s, err := m.Exec(timeout(t, time.Minute), sh("kill -9 $PPID; sleep 100"), wire.Streams{})
	if !errors.Is(err, wire.ErrNoExit) {
		t.Errorf("status %+v, error %v", s, err)
	}
	m.Close()
	c, err := guest.Connect(timeout(t, time.Minute), keepOpen{m.Agent()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	info, err := c.Info(timeout(t, time.Minute))
	if err != nil || !info.Configured {
		t.Errorf("info %+v, error %v", info, err)
	}
	// The image's own command ends the machine, too.
	status, err := c.Exec(timeout(t, time.Minute), sh("poweroff"), wire.Streams{})
	if err != nil && !errors.Is(err, wire.ErrNoExit) || status.Code != 0 { // which of the two comes first is open
		t.Errorf("poweroff: %+v, %v", status, err)
	}
	select {
	case <-m.Machine.Done():
	case <-time.After(time.Minute):
		t.Fatal("the machine goes on")
	}
	if got := m.Exit(); got.Cause != vmm.CausePoweroff {
		t.Errorf("exit %+v", got)
	}
}

// TestOtherInit boots an image whose init is real but knows no units: the agent runs beside it.
func TestOtherInit(t *testing.T) {
	l := theLab(t)
	files := busyboxImage(t)
	for i, f := range files {
		if f.name == "sbin/init" {
			files[i] = file{name: "sbin/init", content: files[2].content, mode: 0o755} // a copy looks like sysvinit
		}
	}
	files = append(files, file{name: "etc", mode: 0o755}, file{name: "etc/inittab", content: []byte("::wait:/bin/true\n"), mode: 0o644})
	m := start(t, l, makeDisks(t, archive(t, files...)), "")
	info := m.identify(t)
	if info.Init != "sysvinit" || m.out(t, "cat /proc/1/comm") != "init" {
		t.Errorf("info %+v", info)
	}
	m.end(t, proto.ShutdownRequest{}, vmm.CausePoweroff)
}

// TestDistroless boots an image that has one program and nothing else, not even the directories for mounts.
func TestDistroless(t *testing.T) {
	l := theLab(t)
	program := filepath.Join(t.TempDir(), "hello")
	source := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(source, []byte("package main\nimport \"os\"\nfunc main() { os.Stdout.WriteString(\"hello \" + os.Getenv(\"HOME\") + \"\\n\") }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", program, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	m := start(t, l, makeDisks(t, archive(t, file{name: "hello", content: content, mode: 0o755})), "")
	m.identify(t)
	for name, tc := range map[string]struct {
		req  proto.ExecRequest
		want result
	}{
		"program":  {proto.ExecRequest{Command: []string{"/hello"}}, result{Out: "hello /root\n"}},
		"no shell": {sh("true"), result{Status: proto.ExitStatus{Code: 127, Error: "sh: executable file not found in PATH"}}},
		"uid":      {proto.ExecRequest{Command: []string{"/hello"}, User: "1234:5"}, result{Out: "hello /\n"}},
	} {
		if got := run(t, m.Client, tc.req, nil); got != tc.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	m.end(t, proto.ShutdownRequest{}, vmm.CausePoweroff)
}

// systemdImage returns the archive of a small Debian with systemd, made once.
func systemdImage(t *testing.T, l lab) *os.File {
	t.Helper()
	file := filepath.Join(l.cache, "systemd-bookworm.tar")
	if _, err := os.Stat(file); err != nil {
		made := file + ".new.tar"
		out, err := exec.Command("mmdebstrap", "--variant=minbase", "--include=systemd,systemd-sysv,dbus,iproute2,procps", "bookworm", made).CombinedOutput()
		if err != nil {
			t.Fatalf("mmdebstrap: %v\n%s", err, out)
		}
		if err := os.Rename(made, file); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestSystemdImage(t *testing.T) {
	l := theLab(t)
	d := makeDisks(t, systemdImage(t, l))
	m := start(t, l, d, "banger.debug")
	began := time.Now()
	info := m.identify(t)
	t.Logf("answered after %v (guest %d ms), identity %v", m.Answered, info.UptimeMS, time.Since(began))
	if info.Init != "systemd" || len(info.Warnings) > 0 {
		t.Errorf("info %+v", info)
	}
	began = time.Now()
	if got := m.out(t, "systemctl is-system-running --wait; systemctl --failed --plain --no-legend; true"); got != "running" {
		t.Errorf("system is %q", got)
	}
	t.Logf("running %v after the first answer", time.Since(began))
	for script, want := range map[string]string{
		"cat /proc/1/comm; hostname":                                "systemd\nlab-vm",
		"ip -4 addr show eth0 | grep -o 'inet [^ ]*'":               "inet 10.0.2.15/24",
		"cat /proc/self/oom_score_adj /proc/self/cgroup":            "0\n0::/system.slice/banger-agent.service/banger-exec",
		"grep -c . /etc/machine-id; wc -c </etc/machine-id":         "1\n33",
		"findmnt -no FSTYPE / /root 2>/dev/null || stat -f -c %T /": "overlay",
	} {
		if got := m.out(t, script); !strings.HasPrefix(got, want) {
			t.Errorf("%s: got %q, want %q", script, got, want)
		}
	}
	t.Log("microseconds from the kernel's start: " + m.out(t, "systemctl show -p UserspaceTimestampMonotonic -p FinishTimestampMonotonic; "+
		"systemctl show -p ActiveEnterTimestampMonotonic banger-agent.service"))
	m.out(t, "echo kept >/root/file")
	m.end(t, proto.ShutdownRequest{}, vmm.CausePoweroff)
	checkClean(t, d)
}

func TestForcedAgent(t *testing.T) {
	l := theLab(t)
	m := start(t, l, makeDisks(t, systemdImage(t, l)), "banger.init=agent")
	info := m.identify(t)
	t.Logf("answered after %v (guest %d ms)", m.Answered, info.UptimeMS)
	if info.Init != "agent" || m.out(t, "cat /proc/1/comm") != "init" {
		t.Errorf("info %+v", info)
	}
	m.end(t, proto.ShutdownRequest{}, vmm.CausePoweroff)
}

// TestTraffic puts as much on the line as it must take.
func TestTraffic(t *testing.T) {
	l := theLab(t)
	m := start(t, l, makeDisks(t, archive(t, busyboxImage(t)...)), "")
	m.identify(t)
	const n = 100 << 20
	var got checker
	began := time.Now()
	s, err := m.Exec(timeout(t, 3*time.Minute), proto.ExecRequest{Command: []string{"cat"}, Stdin: true},
		wire.Streams{Stdin: &pattern{n: n}, Stdout: &got})
	if err != nil || s.Code != 0 || got.at != n || got.bad {
		t.Errorf("status %+v, error %v, %d bytes, intact %v", s, err, got.at, !got.bad)
	}
	t.Logf("100 MiB both ways in %v", time.Since(began))

	began = time.Now()
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if got := run(t, m.Client, proto.ExecRequest{Command: []string{"cat"}}, strings.NewReader("hello")); got.Out != "hello" {
				t.Errorf("got %+v", got)
			}
		})
	}
	wg.Wait()
	t.Logf("200 commands at once in %v", time.Since(began))
	t.Log(m.out(t, "grep -E 'VmRSS|VmHWM' /proc/$PPID/status; free"))
	m.end(t, proto.ShutdownRequest{}, vmm.CausePoweroff)
}

// TestBootFails boots without the disk that takes changes: the machine says so and ends.
func TestBootFails(t *testing.T) {
	l := theLab(t)
	d := makeDisks(t, archive(t, busyboxImage(t)...))
	d.overlay = d.rootfs // no file system to write to
	ctx := timeout(t, bootLimit)
	m, console := boot(t, l, d, "")
	select {
	case <-m.Done():
	case <-ctx.Done():
		t.Fatal("the machine goes on")
	}
	if got := m.Exit(); got.Cause != vmm.CausePoweroff {
		t.Errorf("exit %+v", got)
	}
	if want := "boot failed"; !strings.Contains(console.String(), want) {
		t.Errorf("the console does not say %q", want)
	}
}
