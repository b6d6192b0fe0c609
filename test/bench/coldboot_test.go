//go:build bench

// Package bench measures banger as a whole process, each figure beside a peer or a lower bound in the same run.
package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/fsutil"
	"github.com/banger-dev/banger/internal/guest"
	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/guest/wire"
)

// rounds is how often each side is measured, in turn, so that a drifting machine treats both alike.
const rounds = 7

type host struct {
	t         *testing.T
	bin, home string
}

func (h host) banger(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, h.bin, args...)
	cmd.Env = append(os.Environ(), "BANGER_HOME="+h.home)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("banger %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(string(out)), nil
}

func (h host) must(args ...string) string {
	h.t.Helper()
	out, err := h.banger(args...)
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// TestColdBoot compares `banger vm run --rm --image minimal -- true`, the whole command from its start to its exit,
// with a bare QEMU that boots the same kernel, initramfs and disks to the exit of the same command.
func TestColdBoot(t *testing.T) {
	bin, err := filepath.Abs("../../bin/banger")
	if err != nil {
		t.Fatal(err)
	}
	h := host{t, bin, os.Getenv("BENCH_HOME")}
	if h.home == "" {
		h.home = t.TempDir()
	}
	t.Cleanup(func() { _, _ = h.banger("daemon", "stop") })
	for _, args := range [][]string{{"kernel", "pull", "debian-cloud"}, {"image", "build", "minimal"}} {
		if _, err := h.banger(args[0], "show", args[2]); err != nil {
			h.must(args...)
		}
	}
	bare := h.bareMachine(t)

	var ours, theirs, ratios []float64
	for i := range rounds + 1 {
		a := timed(t, func() error {
			_, err := h.banger("vm", "run", "--rm", "--image", "minimal", "--", "true")
			return err
		})
		b := timed(t, func() error { return bare.run(t) })
		if i == 0 {
			continue // the first round warms the page cache
		}
		ours, theirs, ratios = append(ours, a), append(theirs, b), append(ratios, a/b)
	}
	t.Logf("cold boot to the first command's exit, minimal image, %d rounds in turn", rounds)
	t.Logf("banger vm run --rm     median %.2f s (%.2f-%.2f)", median(ours), slices.Min(ours), slices.Max(ours))
	t.Logf("bare QEMU              median %.2f s (%.2f-%.2f)", median(theirs), slices.Min(theirs), slices.Max(theirs))
	t.Logf("ratio of each round    median %.2f (%.2f-%.2f), bound 1.25", median(ratios), slices.Min(ratios), slices.Max(ratios))
	if m := median(ratios); m > 1.25 {
		t.Errorf("a cold start takes %.2f times a bare QEMU's, more than 1.25", m)
	}
}

// TestCommandStart bounds what every command pays: the start of the binary itself.
func TestCommandStart(t *testing.T) {
	bin, err := filepath.Abs("../../bin/banger")
	if err != nil {
		t.Fatal(err)
	}
	for _, arg := range []string{"version", "--help"} {
		var took []float64
		for range 20 {
			took = append(took, timed(t, func() error { return exec.Command(bin, arg).Run() }))
		}
		t.Logf("banger %-9s median %.1f ms (bound 30 ms)", arg, 1000*median(took))
		if median(took) > 0.030 {
			t.Errorf("banger %s takes %.1f ms", arg, 1000*median(took))
		}
	}
}

// TestResident bounds what an idle daemon and a shim hold in memory.
func TestResident(t *testing.T) {
	bin, err := filepath.Abs("../../bin/banger")
	if err != nil {
		t.Fatal(err)
	}
	h := host{t, bin, os.Getenv("BENCH_HOME")}
	if h.home == "" {
		h.home = t.TempDir()
	}
	t.Cleanup(func() { _, _ = h.banger("daemon", "stop") })
	vm := h.must("vm", "run", "-d", "--image", "minimal")
	t.Cleanup(func() { _, _ = h.banger("vm", "delete", "-f", vm) })
	for range 20 {
		h.must("vm", "exec", vm, "--", "true")
	}
	shown := h.show(vm)
	var version api.Version
	if err := json.Unmarshal([]byte(h.must("daemon", "status", "--json")), &version); err != nil {
		t.Fatal(err)
	}
	for _, p := range []struct {
		name  string
		pid   int
		bound int
	}{{"daemon", version.PID, 40}, {"shim", shown.ShimPID, 30}} {
		mb := resident(t, p.pid)
		t.Logf("%-7s %d MB resident (bound %d MB)", p.name, mb, p.bound)
		if mb > p.bound {
			t.Errorf("the %s holds %d MB, more than %d", p.name, mb, p.bound)
		}
	}
}

// resident returns a process's resident set in MB (10^6 bytes).
func resident(t *testing.T, pid int) int {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb * 1024 / 1e6
}

func (h host) show(ref string) api.VM {
	var vms []api.VM
	out := h.must("vm", "show", "--json", ref)
	if err := json.Unmarshal([]byte(out), &vms); err == nil {
		return vms[0]
	}
	var vm api.VM
	if err := json.Unmarshal([]byte(out), &vm); err != nil {
		h.t.Fatal(err)
	}
	return vm
}

// bareMachine is what a VM of banger boots, taken from the VMM of one.
type bareMachine struct {
	kernel, initrd, cmdline string
	vcpu                    int
	memory                  int64
	base, modules           string // shared, read-only
	overlay, work           string // pristine copies
	dir                     string
}

// bareMachine reads the arguments of a VM's VMM and keeps the VM's disks as they were before its first boot.
func (h host) bareMachine(t *testing.T) bareMachine {
	vm := h.must("vm", "create", "--no-start", "--image", "minimal")
	shown := h.show(vm)
	m := bareMachine{vcpu: shown.VCPU, memory: shown.Memory, dir: t.TempDir()}
	m.overlay, m.work = filepath.Join(m.dir, "overlay"), filepath.Join(m.dir, "work")
	vmDir := filepath.Join(h.home, "state", "vms", shown.ID)
	for dst, src := range map[string]string{m.overlay: "overlay.ext4", m.work: "root.ext4"} {
		if _, err := fsutil.Clone(dst, filepath.Join(vmDir, src)); err != nil {
			t.Fatal(err)
		}
	}
	h.must("vm", "start", vm)
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", h.show(vm).VMMPID))
	if err != nil {
		t.Fatal(err)
	}
	args := strings.Split(string(data), "\x00")
	after := func(flag string) string {
		i := slices.Index(args, flag)
		if i < 0 {
			t.Fatalf("the VMM has no %s: %q", flag, args)
		}
		return args[i+1]
	}
	m.kernel, m.initrd, m.cmdline = after("-kernel"), after("-initrd"), after("-append")
	m.base = filepath.Join(h.home, "state", "images", shown.ImageID, "rootfs.ext4")
	m.modules = filepath.Join(filepath.Dir(m.kernel), "modules.ext4")
	h.must("vm", "delete", "-f", vm)
	return m
}

// run boots the machine by hand, runs `true` in it through the agent's own protocol, and ends it.
func (m bareMachine) run(t *testing.T) error {
	dir, err := os.MkdirTemp(m.dir, "run-")
	if err != nil {
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(dir, "agent")})
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	args := []string{
		"-machine", "microvm,acpi=on,memory-backend=ram", "-object", fmt.Sprintf("memory-backend-memfd,id=ram,size=%d", m.memory),
		"-accel", "tcg,thread=multi", "-cpu", "max", "-smp", strconv.Itoa(m.vcpu), "-m", fmt.Sprintf("%dK", m.memory>>10),
		"-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-kernel", m.kernel, "-initrd", m.initrd, "-append", m.cmdline,
		"-serial", "file:" + filepath.Join(dir, "console"), "-device", "virtio-serial-device",
		"-chardev", "socket,id=agent,path=" + filepath.Join(dir, "agent"), "-device", "virtserialport,chardev=agent,name=" + proto.Port,
	}
	for _, d := range []struct {
		serial, path string
		opts         string
	}{
		{proto.SerialRootfs, m.base, ",read-only=on"},
		{proto.SerialOverlay, m.overlay, ",snapshot=on"},
		{proto.SerialWork, m.work, ",snapshot=on"},
		{proto.SerialModules, m.modules, ",read-only=on"},
	} {
		args = append(args, "-drive", fmt.Sprintf("id=%s,if=none,format=raw,file=%s,file.locking=off%s", d.serial, d.path, d.opts),
			"-device", fmt.Sprintf("virtio-blk-device,drive=%s,serial=%s", d.serial, d.serial))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	}()
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	client, err := guest.Connect(ctx, conn)
	if err != nil {
		return fmt.Errorf("%w: %s", err, errs.String())
	}
	defer client.Close()
	if _, err := client.SetIdentity(ctx, proto.Identity{Hostname: "bare", Time: time.Now(), WorkDisk: true}); err != nil {
		return err
	}
	status, err := client.Exec(ctx, proto.ExecRequest{Command: []string{"true"}}, wire.Streams{})
	if err == nil && status.Code != 0 {
		err = fmt.Errorf("true: exit %d", status.Code)
	}
	return err
}

// timed returns how long f took, in seconds.
func timed(t *testing.T, f func() error) float64 {
	t.Helper()
	start := time.Now()
	if err := f(); err != nil {
		t.Fatal(err)
	}
	return time.Since(start).Seconds()
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
