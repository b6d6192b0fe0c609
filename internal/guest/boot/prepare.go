package boot

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// prepareInit does what an init other than the agent needs: the agent's executable in a place that stays, and for
// systemd its unit. What is in the image is not changed, only the machine's overlay is.
func (m *Machine) prepareInit(agent io.Reader) error {
	if err := copyAgent(agent); err != nil {
		return fmt.Errorf("copy the agent: %w", err)
	}
	m.try("set the machine id", setMachineID("/etc/machine-id"))
	if m.Init.Name == "systemd" {
		return addSystemd("/run")
	}
	return nil
}

func copyAgent(agent io.Reader) error {
	f, err := os.OpenFile(AgentFile, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, agent); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// setMachineID gives the machine an id of its own where its image has none.
func setMachineID(file string) error {
	b, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if id := bytes.TrimSpace(b); len(id) > 0 && string(id) != "uninitialized" {
		return nil
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80 // a UUID of version 4, as machine-id(5) recommends
	return os.WriteFile(file, []byte(hex.EncodeToString(id)+"\n"), 0o444)
}

// unit starts the agent as soon as users, temporary files and the journal's socket are there: commands may run then,
// while the services of the image still start. Not before: systemd-tmpfiles empties /tmp when it sets up.
const unit = `[Unit]
Description=banger guest agent
DefaultDependencies=no
After=systemd-journald.socket systemd-sysusers.service systemd-tmpfiles-setup.service
StartLimitIntervalSec=0

[Service]
ExecStart=` + AgentFile + ` serve
Restart=always
RestartSec=100ms
# Commands live below the unit's control group, and on when it is stopped.
Delegate=yes
KillMode=process
TasksMax=infinity
OOMScoreAdjust=-1000
OOMPolicy=continue
IgnoreSIGPIPE=no
`

// overlayUnit keeps systemd from unmounting the overlay disk while it goes down, which would leave its file system open
// below the root's: at the very end systemd makes read-only what is still mounted.
const overlayUnit = "[Unit]\nDefaultDependencies=no\n"

// masked are units that make no sense in this machine: its one link, its names and its file systems are the agent's
// business, and nobody sits at its console.
var masked = []string{
	"NetworkManager.service", "NetworkManager-wait-online.service", "networking.service", "ifupdown-pre.service",
	"systemd-networkd.service", "systemd-networkd.socket", "systemd-networkd-wait-online.service", "systemd-resolved.service",
	"dhcpcd.service", "systemd-remount-fs.service", "systemd-fsck-root.service", "getty.target", "console-getty.service",
	"systemd-udev-settle.service", "systemd-firstboot.service",
}

// maskedGenerators make units of what fstab, partitions and the console suggest, none of which are this machine's.
var maskedGenerators = []string{
	"systemd-fstab-generator", "systemd-gpt-auto-generator", "systemd-cryptsetup-generator", "systemd-veritysetup-generator",
	"systemd-integritysetup-generator", "systemd-hibernate-resume-generator", "systemd-getty-generator",
}

// withoutKmod returns the units that banger's modules would start, and that fail where the image has no tools for them.
func withoutKmod(root string) []string {
	for _, file := range []string{"bin/kmod", "usr/bin/kmod"} {
		if isExecutable(filepath.Join(root, file)) {
			return nil
		}
	}
	return []string{"kmod-static-nodes.service"}
}

// addSystemd tells systemd about the agent and what to leave out, in run, which is /run.
func addSystemd(run string) error {
	units := filepath.Join(run, "systemd/system")
	generators := filepath.Join(run, "systemd/system-generators")
	links := filepath.Join(run, "systemd/network")
	wants := filepath.Join(units, "sysinit.target.wants")
	overlay := filepath.Join(units, "run-banger-overlay.mount.d")
	for _, dir := range []string{wants, generators, links, overlay} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", dir, err)
		}
	}
	const name = "banger-agent.service"
	if err := os.WriteFile(filepath.Join(units, name), []byte(unit), 0o644); err != nil {
		return fmt.Errorf("write the agent's unit: %w", err)
	}
	if err := os.WriteFile(filepath.Join(overlay, "banger.conf"), []byte(overlayUnit), 0o644); err != nil {
		return fmt.Errorf("write the overlay disk's unit: %w", err)
	}
	targets := map[string]string{
		filepath.Join(wants, name): filepath.Join("..", name),
		// Interfaces keep the kernel's names: the agent may configure eth0 while udev starts.
		filepath.Join(links, "99-default.link"): os.DevNull,
	}
	for _, u := range append(withoutKmod("/"), masked...) {
		targets[filepath.Join(units, u)] = os.DevNull
	}
	for _, g := range maskedGenerators {
		targets[filepath.Join(generators, g)] = os.DevNull
	}
	for link, target := range targets {
		if err := os.Symlink(target, link); err != nil {
			return fmt.Errorf("set systemd up: %w", err)
		}
	}
	return nil
}

// Exec makes the machine's init PID 1, in this process. It returns only when that fails. An init that is not systemd
// knows no units, so the agent is started before it, as a process that looks after itself.
func (m *Machine) Exec() error {
	env := []string{"HOME=/", "TERM=linux", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	if m.Init.Name != "systemd" {
		guard := exec.CommandContext(context.Background(), AgentFile, "guard")
		guard.Env, guard.Stdout, guard.Stderr = env, os.Stdout, os.Stderr
		guard.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := guard.Start(); err != nil {
			return fmt.Errorf("start the agent: %w", err)
		}
	}
	return fmt.Errorf("execute %s: %w", m.Init.Path, unix.Exec(m.Init.Path, []string{m.Init.Path}, env))
}
