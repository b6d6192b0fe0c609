package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/banger-dev/banger/api"
)

func daemonOf(t *testing.T, cmd *exec.Cmd) api.Version {
	t.Helper()
	var v api.Version
	if err := json.Unmarshal([]byte(must(t, cmd)), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// Of many that find no daemon, one starts it and all use it.
func TestManyStartOneDaemon(t *testing.T) {
	home, banger := newHome(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if out, err := banger("vm", "list", "-q").CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("vm list: %v\n%s", err, out)
			}
		})
	}
	wg.Wait()
	log, err := os.ReadFile(filepath.Join(home, "state", "daemon.log"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(log), "daemon serves"); n != 1 {
		t.Errorf("%d daemons served:\n%s", n, log)
	}
	if pids := processes(home); len(pids) != 1 {
		t.Errorf("%d processes", len(pids))
	}
}

// A daemon of another build is replaced; the VM and what runs in it stay.
func TestOtherBuildReplacesDaemon(t *testing.T) {
	home, banger := newHome(t)
	must(t, banger("vm", "create", "v"))
	old := daemonOf(t, banger("daemon", "status", "--json"))

	// A command is running through the old daemon while it is replaced, and goes on.
	ready, proceed := filepath.Join(home, "ready"), filepath.Join(home, "go")
	session := banger("vm", "exec", "v", "--", "sh", "-c", "touch "+ready+"; until [ -e "+proceed+" ]; do sleep 0.02; done; echo done")
	var out bytes.Buffer
	session.Stdout = &out
	if err := session.Start(); err != nil {
		t.Fatal(err)
	}
	if err := eventually(func() bool { _, err := os.Stat(ready); return err == nil }); err != nil {
		t.Fatal(err)
	}

	other := otherBuild(t)
	newer := func(args ...string) *exec.Cmd {
		cmd := banger(args...)
		cmd.Path = other
		return cmd
	}
	if got := must(t, newer("vm", "list")); !strings.Contains(got, "running") {
		t.Errorf("after the replacement: %s", got)
	}
	now := daemonOf(t, newer("daemon", "status", "--json"))
	if now.PID == old.PID || now.Build == old.Build {
		t.Errorf("the daemon was not replaced: %+v, %+v", old, now)
	}
	if got := must(t, newer("vm", "exec", "v", "--", "echo", "alive")); got != "alive\n" {
		t.Errorf("exec: %q", got)
	}
	if err := os.WriteFile(proceed, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := session.Wait(); err != nil || out.String() != "done\n" {
		t.Errorf("the command that ran meanwhile: %v, %q", err, out.String())
	}
	gone := func() bool { _, err := os.Stat("/proc/" + strconv.Itoa(old.PID)); return err != nil }
	if err := eventually(gone); err != nil {
		t.Errorf("the old daemon stays: %v", err)
	}
}

// otherBuild copies this executable with another build id.
func otherBuild(t *testing.T) string {
	t.Helper()
	banger, err := exec.LookPath("banger")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(banger)
	if err != nil {
		t.Fatal(err)
	}
	note := []byte("\x04\x00\x00\x00Go\x00\x00") // type and owner, the id follows
	at := bytes.Index(data, note)
	if at < 0 {
		t.Skip("the test was linked without a build id")
	}
	data[at+len(note)] ^= 1
	path := filepath.Join(t.TempDir(), "banger")
	if err := os.WriteFile(path, data, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// A daemon that cannot start says why, through whoever started it.
func TestDaemonSaysWhyItDoesNotStart(t *testing.T) {
	home, banger := newHome(t)
	if err := os.WriteFile(filepath.Join(home, "state", "banger.db"), []byte(strings.Repeat("not a database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := banger("vm", "list").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "banger.db") {
		t.Errorf("%v: %s", err, out)
	}
}
