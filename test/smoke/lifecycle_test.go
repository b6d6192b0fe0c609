//go:build smoke

package smoke

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/banger-dev/banger/api"
)

func vmLifecycle(t *testing.T, b *banger) {
	if out := b.ok("vm", "create", "--name", "life", "--image", "minimal", "--vcpu", "1", "--memory", "512M",
		"--disk-size", "2G", "--label", "a=b"); out != "life" {
		t.Errorf("create printed %q", out)
	}
	b.fails(1, []string{"life"}, "vm", "create", "--name", "life", "--image", "minimal")
	if state := b.show("life").State; state == api.StateRunning {
		b.ok("vm", "stop", "life")
	}
	b.ok("vm", "start", "life")
	if out := b.ok("vm", "exec", "life", "--", "sh", "-c",
		"echo kept > /root/file; echo system > /etc/file; hostname; nproc"); out != "life\n1" {
		t.Errorf("hostname and nproc: %q", out)
	}
	b.ok("vm", "stop", "life")
	if vm := b.show("life"); vm.State != api.StateStopped || vm.Exit == nil || vm.Exit.Reason != "stopped" {
		t.Errorf("after stop: %s, %+v", vm.State, vm.Exit)
	}
	b.fails(125, []string{"life", "hint:"}, "vm", "exec", "life", "--", "true")
	b.ok("vm", "start", "life")
	if out := b.ok("vm", "exec", "life", "--", "cat", "/root/file", "/etc/file"); out != "kept\nsystem" {
		t.Errorf("after a stop and a start: %q", out)
	}
	if out := b.ok("vm", "logs", "life"); out == "" {
		t.Error("no console log")
	}
	b.fails(1, []string{"life"}, "vm", "delete", "life") // it runs
	b.ok("vm", "delete", "-f", "life")
	b.fails(1, []string{"life", "not found"}, "vm", "show", "life")
	b.ok("vm", "delete", "-f", "life") // it is gone, as it should be

	// Several at once, printed in the order given; a bad one does not stop the good ones.
	b.ok("vm", "create", "--name", "one", "--image", "minimal", "--no-start")
	b.ok("vm", "create", "--name", "two", "--image", "minimal", "--no-start")
	r := b.fails(1, []string{"nope"}, "vm", "delete", "two", "nope", "one")
	if r.stdout != "two\none\n" {
		t.Errorf("delete printed %q", r.stdout)
	}
}

func vmRestart(t *testing.T, b *banger) {
	vm := b.vm()
	bootID := func() string { return b.ok("vm", "exec", vm, "--", "cat", "/proc/sys/kernel/random/boot_id") }
	before := bootID()
	b.ok("vm", "restart", vm)
	if after := bootID(); after == before {
		t.Errorf("boot_id is %s before and after", after)
	}
}

func vmKill(t *testing.T, b *banger) {
	vm := b.vm()
	b.ok("vm", "kill", vm)
	if got := b.show(vm); got.State != api.StateStopped && got.State != api.StateFailed || got.Exit == nil || got.Exit.Reason != "killed" {
		t.Errorf("after kill: %s, %+v", got.State, got.Exit)
	}
}

func detachRun(t *testing.T, b *banger) {
	name := b.ok("vm", "run", "-d", "--rm", "--image", "minimal", "--name", "det", "--", "sh", "-c", "echo working; sleep 600")
	t.Cleanup(func() { b.try("vm", "delete", "-f", "det") })
	if name != "det" {
		t.Errorf("run -d printed %q", name)
	}
	if out := b.ok("vm", "exec", "det", "--", "ps"); !strings.Contains(out, "sleep 600") {
		t.Errorf("the command does not run:\n%s", out)
	}
	if out := b.ok("vm", "logs", "det"); !strings.Contains(out, "working") {
		t.Errorf("its output is not in the logs:\n%s", out)
	}
	b.ok("vm", "stop", "det")
	b.fails(1, []string{"not found"}, "vm", "show", "det") // --rm
}

func concurrentRun(t *testing.T, b *banger) {
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			if r := b.try("vm", "run", "--rm", "--image", "minimal", "--", "sh", "-c", fmt.Sprintf("exit %d", 10+i)); r.code != 10+i {
				t.Errorf("run %d: exit %d\n%s", i, r.code, r.stderr)
			}
		})
	}
	wg.Wait()
}

func invalidSpec(t *testing.T, b *banger) {
	for _, c := range []struct {
		code int
		text string
		args []string
	}{
		{125, `image "nonesuch" not found`, []string{"vm", "run", "--image", "nonesuch", "--pull", "never", "--", "true"}},
		{2, "unknown flag", []string{"vm", "run", "--frobnicate"}},
		{125, "name", []string{"vm", "run", "--image", "minimal", "--name", "Bad_Name", "--", "true"}},
		{125, "vcpu", []string{"vm", "run", "--image", "minimal", "--vcpu", "1000", "--", "true"}},
		{2, "memory", []string{"vm", "run", "--image", "minimal", "--memory", "lots", "--", "true"}},
		{125, "memory", []string{"vm", "run", "--image", "minimal", "--memory", "1K", "--", "true"}},
		{2, "", []string{"vm", "exec"}},
		{1, "not found", []string{"vm", "stop", "nonesuch"}},
		{2, "unknown command", []string{"vm", "frobnicate"}},
	} {
		r := b.try(c.args...)
		if r.code != c.code || !strings.Contains(strings.ToLower(r.stderr), strings.ToLower(c.text)) {
			t.Errorf("banger %s: exit %d, want %d with %q:\n%s", strings.Join(c.args, " "), r.code, c.code, c.text, r.stderr)
		}
	}
}

// interruptedRun ends `vm run` with Ctrl-C at several stages; nothing may be left (the census looks).
func interruptedRun(t *testing.T, b *banger) {
	for _, stage := range []string{"", "make disks", "boot: vmm", "boot: kernel", "ready"} {
		args := []string{"vm", "run", "--rm", "--image", "minimal", "--", "sh", "-c", "echo ready >&2; sleep 100"}
		cmd := b.command(args...)
		errs, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		screen := watch(errs)
		if stage != "" {
			screen.await(t, stage)
		}
		if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code == 0 {
			t.Errorf("interrupted at %q: exit 0\n%s", stage, screen.text())
		}
		if left := b.ok("vm", "list", "-q"); left != "" {
			t.Errorf("interrupted at %q: left %s\n%s", stage, left, screen.text())
		}
	}
}

func imageSeedInRoot(t *testing.T, b *banger) {
	out := b.ok("vm", "run", "--rm", "--image", "minimal", "--", "sh", "-c", "ls -a /root; grep ' /root ' /proc/mounts")
	if !strings.Contains(out, ".profile") || !strings.Contains(out, "ext4") {
		t.Errorf("/root of a fresh VM:\n%s", out)
	}
}

func systemdRun(t *testing.T, b *banger) {
	out := b.ok("vm", "run", "--rm", "--name", "sysd", "--", "sh", "-c",
		"cat /proc/1/comm; hostname; git --version; systemctl is-active dbus.socket; systemctl is-failed '*' | sort | uniq -c; ls -a /root; id -un")
	for _, want := range []string{"systemd", "sysd", "git version", ".bashrc", "root"} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
	name := b.ok("vm", "run", "-d", "--name", "sysd2")
	t.Cleanup(func() { b.try("vm", "delete", "-f", name) })
	if state := b.ok("vm", "exec", name, "--", "sh", "-c", "systemctl is-system-running --wait || systemctl --failed --no-legend"); state != "running" {
		t.Errorf("system state: %s", state)
	}
	b.ok("vm", "restart", name)
	b.ok("vm", "stop", name)
	if vm := b.show(name); vm.Exit == nil || vm.Exit.Reason != "stopped" {
		t.Errorf("systemd VM did not stop by itself: %+v", vm.Exit)
	}
}

// noPrivilegedCall traces a daemon and all that it starts, shim and VMM included, through the whole life of a VM:
// no mount, no change of user.
func noPrivilegedCall(t *testing.T, b *banger) {
	b.stopDaemon()
	trace := filepath.Join(t.TempDir(), "trace")
	daemon := b.command("daemon", "run")
	strace := exec.Command("strace", append([]string{
		"-f", "-qq", "-o", trace, "-e",
		"trace=execve,mount,umount2,fsmount,move_mount,mount_setattr,setuid,setgid,setreuid,setregid,setresuid,setresgid,pivot_root,chroot",
		daemon.Path,
	}, daemon.Args[1:]...)...)
	strace.Env = daemon.Env
	if err := strace.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); b.try("daemon", "status").code != 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) { // else the next command would start a daemon that is not traced
			t.Fatal("the traced daemon does not answer")
		}
	}
	b.ok("vm", "run", "--rm", "--image", "minimal", "--", "true")
	b.stopDaemon()
	_ = strace.Wait()
	data, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`execve\("[^"]*qemu-system`).Match(data) {
		t.Errorf("the trace does not reach the VMM: %d bytes", len(data))
	}
	if calls := regexp.MustCompile(`(?m)^\d+ +\w*(mount|set\w*[ug]id|pivot_root|chroot)\w*\(.*$`).FindAllString(string(data), -1); len(calls) > 0 {
		t.Errorf("privileged calls:\n%s", strings.Join(calls, "\n"))
	}
}
