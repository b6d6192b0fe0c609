package vmmtest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// envParent makes a test binary boot one machine and wait to be killed.
const envParent = "BANGER_VMMTEST_PARENT"

const pidLine = "vmm process "

// beParent boots a machine, prints its process id and does nothing until it is killed.
func beParent(t *testing.T, s suite) {
	g := s.boot(t, s.config(t))
	fmt.Fprintf(os.Stdout, "\n%s%d\n", pidLine, g.PID())
	select {}
}

// testParentKilled runs this test binary again as the parent of a machine.
func testParentKilled(t *testing.T, s suite) {
	name, _, _ := strings.Cut(t.Name(), "/")
	cmd := exec.CommandContext(bounded(t), "/proc/self/exe", "-test.run=^"+name+"$", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), envParent+"=1",
		EnvVmlinux+"="+s.fixture.Kernel.Vmlinux, EnvInitrd+"="+s.fixture.Kernel.Initrd)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := readPID(t, bufio.NewScanner(out))
	vmmFD, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatalf("the process of the machine: %v", err)
	}
	defer func() { _ = unix.Close(vmmFD) }()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if !exited(t, vmmFD) {
		_ = unix.Kill(pid, unix.SIGKILL)
		t.Errorf("process %d outlives its parent", pid)
	}
}

func readPID(t *testing.T, lines *bufio.Scanner) int {
	t.Helper()
	var said []string
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), pidLine); ok {
			pid, err := strconv.Atoi(text)
			if err != nil || pid <= 0 {
				t.Fatalf("process id %q", text)
			}
			return pid
		}
		said = append(said, lines.Text())
	}
	t.Fatalf("the parent ended without a machine (%v):\n%s", lines.Err(), strings.Join(said, "\n"))
	return 0
}

// exited waits for the end of a process that is no child of ours.
func exited(t *testing.T, pidfd int) bool {
	t.Helper()
	poll := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, int(patience.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return n == 1
	}
}
