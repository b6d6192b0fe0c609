package cli

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/banger-dev/banger/api"
)

// TestScripts runs testdata/script: banger as a user has it, each script with a home of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:      "testdata/script",
		Deadline: time.Now().Add(2 * time.Minute),
		Setup: func(env *testscript.Env) error {
			home, err := os.MkdirTemp("", "banger-cli-")
			if err != nil {
				return err
			}
			env.Setenv("BANGER_HOME", home)
			env.Setenv("NO_COLOR", "1")
			env.Setenv("TERM", "xterm")
			env.Defer(func() { leave(t, home) })
			return furnish(home)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":        cmdStatus,
			"killdaemon":    cmdKillDaemon,
			"waitfile":      cmdWaitFile,
			"waitvm":        cmdWaitVM,
			"dockerarchive": cmdDockerArchive,
			"damage":        cmdDamage,
			"export-rootfs": cmdExportRootfs,
		},
	})
}

// leave ends the daemon and the shims of a home and removes it.
func leave(t testing.TB, home string) {
	for _, pid := range processes(home) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err := os.RemoveAll(home); err != nil {
		t.Error(err)
	}
}

// processes lists those that have the home in their environment, and are not us.
func processes(home string) []int {
	var found []int
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		data, err := os.ReadFile(file)
		if err == nil && pid != os.Getpid() && strings.Contains("\x00"+string(data), "\x00BANGER_HOME="+home+"\x00") {
			found = append(found, pid)
		}
	}
	return found
}

// cmdStatus is `status N banger ...`: the command exits with N.
func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command...")
	}
	want := args[0]
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != want {
		ts.Fatalf("%s: exit %s, want %s", strings.Join(args[1:], " "), got, want)
	}
}

// cmdKillDaemon kills the daemon with SIGKILL.
func cmdKillDaemon(ts *testscript.TestScript, _ bool, _ []string) {
	data, err := os.ReadFile(filepath.Join(ts.Getenv("BANGER_HOME"), "state", "daemon.lock"))
	ts.Check(err)
	pid, err := strconv.Atoi(string(data))
	ts.Check(err)
	ts.Check(syscall.Kill(pid, syscall.SIGKILL))
}

// cmdWaitFile waits until a file exists.
func cmdWaitFile(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		err := eventually(func() bool {
			_, err := os.Stat(ts.MkAbs(name))
			return err == nil
		})
		if err != nil {
			ts.Fatalf("%s: %v", name, err)
		}
	}
}

// cmdWaitVM is `waitvm NAME STATE`.
func cmdWaitVM(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: waitvm name state")
	}
	client := api.New(filepath.Join(ts.Getenv("BANGER_HOME"), "run", "banger.sock"))
	defer client.Close()
	err := eventually(func() bool {
		vm, err := client.VM(context.Background(), args[0])
		return err == nil && string(vm.State) == args[1]
	})
	if err != nil {
		ts.Fatalf("vm %s is not %s: %v", args[0], args[1], err)
	}
}
