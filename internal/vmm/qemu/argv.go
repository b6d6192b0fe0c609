package qemu

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/banger-dev/banger/internal/guest/proto"
	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/accel"
)

const (
	// microvm has 8 virtio transports. The random number generator, the serial bus and the network take one each.
	maxDisks = 8 - 3
	// memoryID names guest memory in a migration stream, whatever kind of back end holds it.
	memoryID = "mem"
)

// sockets are the numbers of the inherited descriptors in the child.
type sockets struct {
	qmp, agent, console int
	network             int // 0: none
}

// object is an option in QEMU's JSON form. Unlike the form with commas, it needs no escaping of file names.
type object map[string]any

func (o object) String() string {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err) // strings, numbers and booleans always marshal
	}
	return string(text)
}

// arguments is the command line of the machine, without the program's name.
func arguments(h host, cfg vmm.Config, fd sockets) []string {
	args := []string{
		"-name", "guest=banger-" + cfg.ID + ",process=banger-" + cfg.ID,
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
	}
	args = append(args, board(h, cfg)...)
	args = append(args,
		"-kernel", cfg.Kernel.Vmlinux,
		"-append", commandLine(h, cfg.Kernel.Cmdline),
	)
	if cfg.Kernel.Initrd != "" {
		args = append(args, "-initrd", cfg.Kernel.Initrd)
	}
	args = append(args, channels(fd)...)
	args = append(args, "-device", object{"driver": "virtio-rng-device"}.String())
	if fd.network != 0 {
		args = append(args, networkDevice(fd.network, cfg.MAC)...)
	}
	for i, disk := range cfg.Disks {
		args = append(args, blockDevice(i, disk)...)
	}
	return args
}

// board is the machine itself: its model, CPUs and memory.
func board(h host, cfg vmm.Config) []string {
	memory := roundUp(cfg.Memory, 1<<20)
	args := []string{
		// acpi=on: stock kernels find the virtio devices in the DSDT only. ioapic2=off leaves 8 transports, each of
		// which costs the guest a probe. dump-guest-core=off and mem-merge=off keep guest memory to the process.
		"-machine", "microvm,acpi=on,pit=on,pic=on,rtc=on,ioapic2=off,pcie=off,usb=off," +
			"dump-guest-core=off,mem-merge=off,memory-backend=" + memoryID,
		"-smp", strconv.Itoa(cfg.VCPU),
		"-m", strconv.FormatInt(memory>>20, 10) + "M",
		// Anonymous memory is the fastest. A template's machine will have memory-backend-file here under the same id:
		// the id is all that a migration stream knows of it.
		"-object", object{"qom-type": "memory-backend-ram", "id": memoryID, "size": memory}.String(),
	}
	if h.accel.Accelerator == accel.KVM {
		return append(args, "-accel", "kvm", "-cpu", "host")
	}
	// Without la57 the kernel uses four levels of page tables, so that the emulated MMU walks one less at each miss:
	// some 5 % of a boot.
	return append(args, "-accel", "tcg,thread=multi", "-cpu", "max,la57=off")
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }

// channels are the monitor, the console and the agent's port.
func channels(fd sockets) []string {
	return []string{
		"-chardev", fmt.Sprintf("socket,id=qmp,fd=%d", fd.qmp),
		"-mon", "chardev=qmp,mode=control",
		"-chardev", fmt.Sprintf("socket,id=console,fd=%d", fd.console),
		"-serial", "chardev:console",
		"-chardev", fmt.Sprintf("socket,id=agent,fd=%d", fd.agent),
		"-device", object{"driver": "virtio-serial-device", "max_ports": 2}.String(),
		"-device", object{"driver": "virtserialport", "chardev": "agent", "name": proto.Port}.String(),
	}
}

func networkDevice(fd int, mac string) []string {
	nic := object{"driver": "virtio-net-device", "netdev": "net0"}
	if mac != "" {
		nic["mac"] = mac
	}
	return []string{
		"-netdev", object{
			"type": "stream", "id": "net0", "server": false,
			"addr": object{"type": "fd", "str": strconv.Itoa(fd)},
		}.String(),
		"-device", nic.String(),
	}
}

// blockDevice honours the guest's flushes and passes its discards on, so that sparse files stay so.
func blockDevice(i int, disk vmm.Disk) []string {
	node := fmt.Sprintf("disk%d", i)
	// Read-only files are shared by many machines and immutable: a lock on them protects nothing.
	locking := "on"
	if disk.ReadOnly {
		locking = "off"
	}
	return []string{
		"-blockdev", object{
			"driver": "raw", "node-name": node, "read-only": disk.ReadOnly, "discard": "unmap",
			"cache": object{"direct": false, "no-flush": false},
			"file": object{
				"driver": "file", "filename": disk.Path, "locking": locking, "aio": "threads",
				"read-only": disk.ReadOnly, "discard": "unmap",
			},
		}.String(),
		// By default QEMU stops the machine, silently, when the host's disk is full. The guest should see the error.
		"-device", object{
			"driver": "virtio-blk-device", "drive": node, "serial": disk.Serial, "werror": "report", "rerror": "report",
		}.String(),
	}
}
