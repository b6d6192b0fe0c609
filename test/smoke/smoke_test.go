//go:build smoke

// Package smoke runs banger as a user would, against real VMs. Each scenario is a test of its own and leaves nothing
// behind: after it, a census of processes, files and records must be empty. `make smoke SMOKE=name` runs one.
package smoke

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A scenario is one thing that users rely on. Its name is that of spec and documentation.
type scenario struct {
	name string
	run  func(t *testing.T, b *banger)
}

var scenarios = []scenario{
	{"bare_run", bareRun},
	{"command_exit_status", commandExitStatus},
	{"stdin_pipe", stdinPipe},
	{"tty_resize", ttyResize},
	{"signal", signalReachesProcess},
	{"concurrent_run", concurrentRun},
	{"concurrent_exec", concurrentExec},
	{"invalid_spec", invalidSpec},
	{"vm_lifecycle", vmLifecycle},
	{"vm_restart", vmRestart},
	{"vm_kill", vmKill},
	{"detach_run", detachRun},
	{"interrupted_run", interruptedRun},
	{"background_child", backgroundChild},
	{"net_egress_default", netEgressDefault},
	{"net_full", netFull},
	{"net_none", netNone},
	{"offline_run", offlineRun},
	{"image_seed_in_root", imageSeedInRoot},
	{"image_oci_roundtrip", imageRoundtrip},
	{"register_promote_delete", registerPromoteDelete},
	{"systemd_run", systemdRun},
	{"daemon_kill9_keeps_vm", daemonKillKeepsVM},
	{"shim_kill9", shimKill},
	{"vmm_kill9", vmmKill},
	{"no_privileged_call", noPrivilegedCall},
}

// home is the BANGER_HOME that all scenarios share, so that images and kernels are made once.
var home string

func TestMain(m *testing.M) {
	code, err := prepareAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "smoke:", err)
		code = 1
	}
	os.Exit(code)
}

func prepareAndRun(m *testing.M) (int, error) {
	home = os.Getenv("SMOKE_HOME") // kept, for a developer who runs one scenario again and again
	if home == "" {
		dir, err := os.MkdirTemp("", "banger-smoke-")
		if err != nil {
			return 0, err
		}
		home = dir
		defer os.RemoveAll(dir)
	}
	b := &banger{bin: binary()}
	defer b.stopDaemon()
	for _, args := range [][]string{{"kernel", "pull", "debian-cloud"}, {"image", "build", "minimal"}} {
		if r := b.try(args[0], "show", args[2]); r.code == 0 {
			continue
		}
		if r := b.try(args...); r.code != 0 {
			return 0, fmt.Errorf("%s: exit %d\n%s", strings.Join(args, " "), r.code, r.stderr)
		}
	}
	return m.Run(), nil
}

func binary() string {
	if bin := os.Getenv("BANGER_BIN"); bin != "" {
		return bin
	}
	bin, err := filepath.Abs("../../bin/banger")
	if err != nil {
		panic(err)
	}
	return bin
}

func TestSmoke(t *testing.T) {
	wanted := map[string]bool{}
	for _, name := range strings.FieldsFunc(os.Getenv("SMOKE"), func(r rune) bool { return r == ',' || r == ' ' }) {
		wanted[name] = true
	}
	all := len(wanted) == 0
	for _, s := range scenarios {
		if !all && !wanted[s.name] {
			continue
		}
		delete(wanted, s.name)
		t.Run(s.name, func(t *testing.T) {
			b := &banger{t: t, bin: binary()}
			b.census() // registered first, so that it runs last
			s.run(t, b)
		})
	}
	for name := range wanted {
		t.Errorf("there is no scenario %q", name)
	}
}
