package boot

import (
	"os"
	"path/filepath"
	"slices"
)

// Init is what becomes PID 1.
type Init struct {
	Name string // "agent", "systemd", or what else it calls itself
	Path string // executable; empty for the agent
}

func (i Init) isAgent() bool { return i.Path == "" }

// forceAgent is the kernel argument that makes the agent PID 1 whatever the image has.
const forceAgent = "banger.init=agent"

// notInits are programs that /sbin/init may be in images of single programs: they supervise nothing by themselves.
var notInits = []string{"busybox", "busybox.static", "toybox", "tini", "tini-static", "dumb-init", "catatonit", "docker-init", "sh", "bash", "dash"}

// detect decides what the image below root wants as PID 1.
func detect(root string, cmdline []string) Init {
	agent := Init{Name: "agent"}
	if slices.Contains(cmdline, forceAgent) {
		return agent
	}
	for _, path := range []string{"/usr/lib/systemd/systemd", "/lib/systemd/systemd"} {
		if isExecutable(filepath.Join(root, path)) {
			return Init{Name: "systemd", Path: path}
		}
	}
	const path = "/sbin/init"
	file := filepath.Join(root, path)
	if !isExecutable(file) {
		return agent
	}
	switch {
	case isExecutable(filepath.Join(root, "/sbin/openrc")):
		return Init{Name: "openrc", Path: path} // also on top of busybox, as Alpine has it
	case isNoInit(root, file):
		return agent
	}
	return Init{Name: initName(file), Path: path}
}

func isExecutable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// isNoInit tells whether init is one of notInits, by its name or as a hard link to it.
func isNoInit(root, init string) bool {
	target, err := filepath.EvalSymlinks(init)
	if err != nil || slices.Contains(notInits, filepath.Base(target)) {
		return true
	}
	info, err := os.Stat(init)
	if err != nil {
		return true
	}
	for _, name := range notInits {
		for _, dir := range []string{"/bin", "/sbin", "/usr/bin"} {
			other, err := os.Stat(filepath.Join(root, dir, name))
			if err == nil && os.SameFile(info, other) {
				return true
			}
		}
	}
	return false
}

func initName(init string) string {
	target, err := filepath.EvalSymlinks(init)
	if name := filepath.Base(target); err == nil && name != "init" {
		return name
	}
	return "sysvinit"
}
