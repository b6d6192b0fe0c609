package vmmtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/vmmtest/guestproto"
)

// Obey is testguest for drivers whose guest is a function.
func Obey(_ context.Context, agent io.ReadWriter, console io.Writer) vmm.Cause {
	fmt.Fprintln(console, guestproto.ConsoleReady)
	fmt.Fprintln(agent, guestproto.Ready)
	in := bufio.NewReader(agent)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return vmm.CausePoweroff
		}
		verb, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch verb {
		case guestproto.Echo:
			n, _ := strconv.ParseInt(arg, 10, 64) // 0 fails the test
			_, _ = io.CopyN(agent, in, n)
		case guestproto.Print:
			fmt.Fprintln(console, arg)
			fmt.Fprintln(agent, "ok")
		case guestproto.Poweroff:
			return vmm.CausePoweroff
		case guestproto.Reboot:
			return vmm.CauseReboot
		}
	}
}

// NoKernel returns files that exist, for drivers that boot none.
func NoKernel(t testing.TB) vmm.Kernel {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kernel")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return vmm.Kernel{Vmlinux: file, Initrd: file}
}
