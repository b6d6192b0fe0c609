// Command init is the first process of a test's guest: it loads the modules of its list, mounts the disk of modules,
// tells on the console how that went and powers off.
package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

var list string // set by the linker

func main() {
	if err := load(); err != nil {
		fmt.Println("FAILED", err)
	}
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Println("FAILED", err)
	}
	select {}
}

func load() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	fmt.Println("KERNEL", unix.ByteSliceToString(u.Release[:]))
	data, err := os.ReadFile(list)
	if err != nil {
		return err
	}
	for _, path := range strings.Fields(string(data)) {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	fmt.Println("ALL LOADED")
	if err := unix.Mount("dev", "/dev", "devtmpfs", 0, ""); err != nil {
		return err
	}
	if err := os.Mkdir("/mnt", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("/dev/vda", "/mnt", "ext4", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	if _, err := os.Stat("/mnt/modules.dep.bin"); err != nil {
		return err
	}
	fmt.Println("MODPROBE INDEX")
	return nil
}
