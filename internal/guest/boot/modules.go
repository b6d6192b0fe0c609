package boot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// moduleList names the modules of the initramfs, one a line, in load order.
const moduleList = "/etc/banger/modules"

// loadModules loads the drivers. One that fails may not be needed; if it is, the disk that is missing says so.
func (m *Machine) loadModules() {
	list, err := os.ReadFile(moduleList)
	if errors.Is(err, fs.ErrNotExist) {
		return // everything is built into the kernel
	}
	m.try("read the list of modules", err)
	for _, path := range strings.Fields(string(list)) {
		m.try("load module", loadModule(path))
	}
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
