//go:build smoke

package smoke

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/banger-dev/banger/api"
)

// commandTimeout bounds one banger command; a boot under TCG takes up to 10 s, an image build a minute.
const commandTimeout = 5 * time.Minute

// banger runs the real binary.
type banger struct {
	t   *testing.T
	bin string
}

// result is what one command left.
type result struct {
	stdout, stderr string
	code           int
}

// command returns the command, ready to start, for scenarios that hold it in their own hands.
func (b *banger) command(args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	cmd := exec.CommandContext(ctx, b.bin, args...)
	cmd.Env = append(os.Environ(), "BANGER_HOME="+home)
	if b.t != nil {
		b.t.Cleanup(cancel)
	} else {
		cmd.Cancel = func() error { cancel(); return cmd.Process.Kill() }
	}
	return cmd
}

// tryInput runs a command with stdin and does not judge its status.
func (b *banger) tryInput(stdin io.Reader, args ...string) result {
	cmd := b.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return result{stderr: err.Error(), code: -1}
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// run runs another program.
func run(t *testing.T, env []string, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatalf("%s: %v", name, err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

func (b *banger) try(args ...string) result { return b.tryInput(nil, args...) }

// ok runs a command that must succeed and returns its standard output without the last newline.
func (b *banger) ok(args ...string) string {
	b.t.Helper()
	r := b.try(args...)
	if r.code != 0 {
		b.t.Fatalf("banger %s: exit %d\nstdout: %s\nstderr: %s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return strings.TrimSuffix(r.stdout, "\n")
}

// fails runs a command that must end with the given status and whose standard error must contain each text.
func (b *banger) fails(code int, texts []string, args ...string) result {
	b.t.Helper()
	r := b.try(args...)
	if r.code != code {
		b.t.Fatalf("banger %s: exit %d, want %d\nstderr: %s", strings.Join(args, " "), r.code, code, r.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(r.stderr, text) {
			b.t.Errorf("banger %s: stderr lacks %q:\n%s", strings.Join(args, " "), text, r.stderr)
		}
	}
	return r
}

// vm starts a VM of the minimal image that the scenario's end deletes, and returns its name.
func (b *banger) vm(flags ...string) string {
	b.t.Helper()
	name := b.ok(append([]string{"vm", "run", "-d", "--image", "minimal"}, flags...)...)
	b.t.Cleanup(func() { b.try("vm", "delete", "-f", name) })
	return name
}

func (b *banger) show(name string) api.VM {
	b.t.Helper()
	var vms []api.VM
	out := b.ok("vm", "show", "--json", name)
	if err := json.Unmarshal([]byte(out), &vms); err != nil {
		var one api.VM
		if err := json.Unmarshal([]byte(out), &one); err != nil {
			b.t.Fatalf("vm show --json: %v in %s", err, out)
		}
		return one
	}
	return vms[0]
}

// eventually waits until the VM is in a state; the daemon learns of an end by an event, this test by asking.
func (b *banger) eventually(name string, want api.State) api.VM {
	b.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		vm := b.show(name)
		if vm.State == want {
			return vm
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("vm %s is %s, want %s", name, vm.State, want)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (b *banger) stopDaemon() { b.try("daemon", "stop") }

// census fails the scenario when a VM, its directory or one of its processes is left.
func (b *banger) census() {
	b.t.Helper()
	b.t.Cleanup(func() {
		b.t.Helper()
		if left := b.try("vm", "list", "-q"); strings.TrimSpace(left.stdout) != "" {
			b.t.Errorf("VMs left behind: %s", left.stdout)
			b.try(append([]string{"vm", "delete", "-f"}, strings.Fields(left.stdout)...)...)
		}
		if dirs, _ := filepath.Glob(filepath.Join(home, "state", "vms", "*")); len(dirs) > 0 {
			b.t.Errorf("VM directories left behind: %v", dirs)
		}
		if dirs, _ := filepath.Glob(filepath.Join(home, "state", "staging", "*")); len(dirs) > 0 {
			b.t.Errorf("staging left behind: %v", dirs)
		}
		if procs := vmProcesses(); len(procs) > 0 {
			b.t.Errorf("processes left behind: %v", procs)
		}
	})
}

// vmProcesses lists the shims and VMMs of this home by their arguments.
func vmProcesses() map[int]string {
	found := map[int]string{}
	dirs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range dirs {
		data, err := os.ReadFile(file)
		if err != nil || len(data) == 0 {
			continue // it ended meanwhile
		}
		args := strings.ReplaceAll(strings.TrimRight(string(data), "\x00"), "\x00", " ")
		if strings.Contains(args, filepath.Join(home, "state", "vms")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			found[pid] = args
		}
	}
	return found
}
