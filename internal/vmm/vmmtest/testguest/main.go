//go:build linux

// Command testguest is the init of the guests that the contract suite boots. It obeys commands, one a line, that
// come over the port named proto.Port, and answers with one line each. It is no part of banger.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/vmm/vmmtest/guestproto"
)

func main() {
	fmt.Fprintln(os.Stdout, "testguest:", run())
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// run returns when the guest cannot go on; an obeyed command ends the machine before that.
func run() error {
	for _, m := range []struct{ source, target, kind string }{
		{"proc", "/proc", "proc"}, {"sysfs", "/sys", "sysfs"}, {"devtmpfs", "/dev", "devtmpfs"},
	} {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		// EBUSY: the kernel has mounted devtmpfs by itself.
		if err := unix.Mount(m.source, m.target, m.kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	events, err := uevents()
	if err != nil {
		return err
	}
	if err := loadModules("/modules"); err != nil {
		return err
	}
	port, err := openPort(proto.Port, events)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, guestproto.ConsoleReady)
	return serve(port)
}

// loadModules loads the files of dir. It knows nothing of their dependencies: a module whose symbols are missing, which
// is ENOENT, waits for the next round; a round that loads nothing is the last.
func loadModules(dir string) error {
	waiting, err := filepath.Glob(dir + "/*.ko")
	if err != nil {
		return err
	}
	for len(waiting) > 0 {
		var next []string
		for _, name := range waiting {
			switch err := loadModule(name); {
			case errors.Is(err, unix.ENOENT):
				next = append(next, name)
			case err != nil && !errors.Is(err, unix.EEXIST):
				return fmt.Errorf("load %s: %w", name, err)
			}
		}
		if len(next) == len(waiting) {
			return fmt.Errorf("load %s: symbols missing", strings.Join(next, " "))
		}
		waiting = next
	}
	return nil
}

func loadModule(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

// uevents opens the kernel's stream of device events.
func uevents() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	return fd, os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}))
}

// openPort opens the virtio-serial port by its name: its number is not fixed. The name comes in a message of its own,
// some time after the driver has found the device, so it looks again at each device event.
func openPort(name string, events int) (*os.File, error) {
	event := make([]byte, 8<<10)
	for {
		files, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if attribute(f) == name {
				return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(f)), os.O_RDWR, 0)
			}
		}
		// ENOBUFS: events were lost; look again all the same.
		if _, err := unix.Read(events, event); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return nil, os.NewSyscallError("read", err)
		}
	}
}

func serve(port io.ReadWriter) error {
	if _, err := fmt.Fprintln(port, guestproto.Ready); err != nil {
		return err
	}
	in := bufio.NewReaderSize(port, 64<<10)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		verb, arg, _ := strings.Cut(strings.TrimSpace(line), " ")
		if err := obey(verb, arg, in, port); err != nil {
			fmt.Fprintf(port, "error: %v\n", err)
		}
	}
}

func obey(verb, arg string, in io.Reader, out io.Writer) error {
	switch verb {
	case guestproto.Echo:
		n, err := strconv.ParseInt(arg, 10, 64)
		if err != nil {
			return err
		}
		_, err = io.CopyN(out, in, n)
		return err
	case guestproto.Disks:
		return disks(out)
	case guestproto.Write:
		return write(out, arg)
	case guestproto.Network:
		return echoFrame(out)
	case guestproto.Print:
		fmt.Fprintln(os.Stdout, arg)
		_, err := fmt.Fprintln(out, "ok")
		return err
	case guestproto.Poweroff:
		return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	case guestproto.Reboot:
		return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	case guestproto.Panic:
		return os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)
	}
	return fmt.Errorf("unknown command %q", verb)
}

func disks(out io.Writer) error {
	files, err := filepath.Glob("/sys/block/vd*")
	if err != nil {
		return err
	}
	var list []guestproto.Disk
	for _, dir := range files {
		d := guestproto.Disk{Name: filepath.Base(dir), Serial: attribute(dir + "/serial"), ReadOnly: attribute(dir+"/ro") == "1"}
		d.WriteCache = attribute(dir + "/queue/write_cache")
		d.Discard = attribute(dir+"/queue/discard_max_bytes") != "0"
		if d.Sectors, err = strconv.ParseInt(attribute(dir+"/size"), 10, 64); err != nil {
			return err
		}
		list = append(list, d)
	}
	return json.NewEncoder(out).Encode(list)
}

// write writes one sector and answers.
func write(out io.Writer, arg string) error {
	var name string
	var offset int64
	if _, err := fmt.Sscanf(arg, "%s %d", &name, &offset); err != nil {
		return err
	}
	f, err := os.OpenFile("/dev/"+filepath.Base(name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteAt(make([]byte, 512), offset); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, "ok")
	return err
}

func attribute(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "" // the test compares and fails
	}
	return strings.TrimSpace(string(text))
}
