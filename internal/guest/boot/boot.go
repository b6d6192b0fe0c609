// Package boot takes a guest from the initramfs to its image's root file system: it is what the agent does as /init.
package boot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// diskWait bounds how long the boot waits for a disk after the drivers are loaded.
const diskWait = 20 * time.Second

// RunDir is the agent's directory in the running guest. It is on a tmpfs.
const RunDir = "/run/banger"

// Files in RunDir.
const (
	AgentFile    = RunDir + "/banger-agent"  // the agent's executable, where another init than the agent is PID 1
	ReportFile   = RunDir + "/boot.json"     // Report
	IdentityFile = RunDir + "/identity.json" // the identity, for an agent that is started again
)

// OverlayDir is where the overlay disk is mounted in the running guest: whoever takes the machine down finds it there
// and can close its file system.
const OverlayDir = RunDir + "/overlay"

// Report is what the boot tells the agent that is started later.
type Report struct {
	Init     string   `json:"init"` // proto.Info.Init
	Warnings []string `json:"warnings,omitempty"`
}

// Machine is a booted guest whose init is about to run.
type Machine struct {
	Init     Init
	warnings []string
	log      *slog.Logger
}

// MountKernel mounts the kernel's own file systems in the initramfs, so that the rest has /proc and /dev.
func MountKernel() error { return mountAll(kernelFS) }

// Run boots: when it returns, the process is in the image's root file system, with everything mounted that every init
// expects. It must be called by PID 1 in the initramfs, after [MountKernel]. Its errors leave a machine that cannot run.
func Run(ctx context.Context, log *slog.Logger) (*Machine, error) {
	m := &Machine{log: log}
	m.step("begins")
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return nil, fmt.Errorf("read kernel command line: %w", err)
	}
	m.loadModules()
	m.step("modules loaded")
	overlay, err := m.mountRoot(ctx)
	if err != nil {
		return nil, err
	}
	defer overlay.Close()
	m.step("root mounted")
	agent, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, fmt.Errorf("open the agent: %w", err)
	}
	defer agent.Close()
	if err := switchRoot(newRoot); err != nil {
		return nil, err
	}
	if err := m.furnish(overlay); err != nil {
		return nil, err
	}
	m.Init = detect("/", strings.Fields(string(line)))
	if !m.Init.isAgent() {
		if err := m.prepareInit(agent); err != nil {
			return nil, err
		}
	}
	m.step("ready for " + m.Init.Name)
	return m, m.report()
}

// furnish mounts what every init expects, and banger's own disks. overlay is the root directory of the overlay disk.
func (m *Machine) furnish(overlay *os.File) error {
	if err := mountAll(kernelFS); err != nil {
		return err
	}
	if err := mountAll(runFS); err != nil {
		return err
	}
	// Its mount in the initramfs has no path any more, but the open directory still leads there.
	disk := filesystem{fmt.Sprintf("/proc/self/fd/%d", overlay.Fd()), OverlayDir, "", unix.MS_BIND, ""}
	if err := disk.mount(); err != nil {
		return err
	}
	if err := os.Chmod(RunDir, 0o700); err != nil {
		return fmt.Errorf("keep %s to root: %w", RunDir, err)
	}
	m.try("mount the kernel's modules", m.mountModules())
	for _, v := range volumes {
		m.try("mount "+v.path, m.mountVolume(v))
	}
	return nil
}

// try turns an error that the guest can live with into a warning.
func (m *Machine) try(what string, err error) {
	if err == nil {
		return
	}
	text := fmt.Sprintf("%s: %v", what, err)
	m.warnings = append(m.warnings, text)
	m.log.Warn("boot goes on without", "cause", text)
}

// step notes how far the boot is. The kernel's clock starts at 0.
func (m *Machine) step(what string) { m.log.Debug("boot", "step", what) }

func (m *Machine) report() error {
	b, err := json.Marshal(Report{Init: m.Init.Name, Warnings: m.warnings})
	if err != nil {
		return fmt.Errorf("report the boot: %w", err)
	}
	if err := os.WriteFile(ReportFile, b, 0o644); err != nil {
		return fmt.Errorf("report the boot: %w", err)
	}
	return nil
}

// ReadReport returns what the boot reported. Without one, as outside a guest, it is the zero value.
func ReadReport() (Report, error) {
	var r Report
	b, err := os.ReadFile(ReportFile)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return r, fmt.Errorf("read the boot's report: %w", err)
	}
	return r, nil
}
