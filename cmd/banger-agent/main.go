// Command banger-agent is banger's part in a guest. The kernel starts it as /init of the initramfs; there it boots the
// machine and either stays PID 1 or gives way to the image's own init. "banger-agent serve" is the server that the host
// talks to, a child of PID 1 or a systemd unit.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/guest/boot"
	"github.com/banger-dev/banger/internal/guest/pid1"
)

// version is set by the linker.
var version = "dev"

func main() {
	if os.Getpid() == 1 {
		asInit()
	}
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "banger-agent: %v\n", err)
		os.Exit(1)
	}
}

func command(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	switch strings.Join(args, " ") {
	case "serve":
		return serve(ctx, logger())
	case "guard":
		return pid1.Guard(ctx, logger())
	case "version":
		fmt.Println(version)
		return nil
	}
	return errors.New("usage: banger-agent serve|guard|version; this program runs in a banger guest")
}

// asInit is PID 1. It never returns: a machine that cannot boot ends, after saying why on its console.
func asInit() {
	err := boot.MountKernel()
	log := logger() // reads /proc
	if err == nil {
		err = bootMachine(log)
	}
	log.Error("boot failed", "error", err)
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		log.Error("power off", "error", err)
	}
	os.Exit(1)
}

func bootMachine(log *slog.Logger) error {
	m, err := boot.Run(context.Background(), log)
	if err != nil {
		return err
	}
	if m.Init.Name == "agent" {
		return pid1.Run(log)
	}
	return m.Exec()
}

// logger writes to standard error, which is the console or the journal. A guest's console is slow, so it says little
// unless the kernel's command line has banger.debug.
func logger() *slog.Logger {
	level := slog.LevelWarn
	if line, err := os.ReadFile("/proc/cmdline"); err == nil && strings.Contains(string(line), "banger.debug") {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: shorten}))
}

// shorten leaves the time to the kernel's or the journal's clock: the boot's own is not set yet.
func shorten(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 || a.Key != slog.TimeKey {
		return a
	}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return slog.Attr{}
	}
	return slog.String("banger-agent", fmt.Sprintf("%d.%03d", up.Sec, up.Nsec/1e6))
}
