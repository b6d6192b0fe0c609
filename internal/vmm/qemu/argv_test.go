package qemu

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/internal/vmm"
	"github.com/banger-dev/banger/internal/vmm/accel"
)

func testHost(accelerator string) host {
	return host{binary: "/usr/bin/qemu-system-x86_64", accel: accel.Verdict{Accelerator: accelerator}, tscKHz: 2_000_000}
}

func TestArguments(t *testing.T) {
	cfg := vmm.Config{
		ID: "f00d", Dir: "/d", VCPU: 2, Memory: 512<<20 + 1, Network: true, MAC: "52:54:00:00:00:01",
		Kernel: vmm.Kernel{Vmlinux: "/k/vmlinux", Initrd: "/k/initrd", Cmdline: "banger.x=1"},
		Disks: []vmm.Disk{
			{Path: `/i/root,fs "1".ext4`, Serial: "rootfs", ReadOnly: true},
			{Path: "/v/overlay.ext4", Serial: "overlay"},
		},
	}
	got := arguments(testHost(accel.TCG), cfg, sockets{qmp: 3, console: 4, agent: 5, network: 6})
	want := strings.Split(strings.TrimSpace(`
-name
guest=banger-f00d,process=banger-f00d
-nodefaults
-no-user-config
-no-reboot
-display
none
-sandbox
on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-machine
microvm,acpi=on,pit=on,pic=on,rtc=on,ioapic2=off,pcie=off,usb=off,dump-guest-core=off,mem-merge=off,memory-backend=mem
-smp
2
-m
513M
-object
{"id":"mem","qom-type":"memory-backend-ram","size":537919488}
-accel
tcg,thread=multi
-cpu
max,la57=off
-kernel
/k/vmlinux
-append
console=ttyS0 quiet panic=-1 reboot=t cryptomgr.notests tsc_early_khz=2000000 lpj=8000000 tsc=reliable no_timer_check banger.x=1
-initrd
/k/initrd
-chardev
socket,id=qmp,fd=3
-mon
chardev=qmp,mode=control
-chardev
socket,id=console,fd=4
-serial
chardev:console
-chardev
socket,id=agent,fd=5
-device
{"driver":"virtio-serial-device","max_ports":2}
-device
{"chardev":"agent","driver":"virtserialport","name":"banger.agent"}
-device
{"driver":"virtio-rng-device"}
-netdev
{"addr":{"str":"6","type":"fd"},"id":"net0","server":false,"type":"stream"}
-device
{"driver":"virtio-net-device","mac":"52:54:00:00:00:01","netdev":"net0"}
-blockdev
{"cache":{"direct":false,"no-flush":false},"discard":"unmap","driver":"raw","file":{"aio":"threads","discard":"unmap","driver":"file","filename":"/i/root,fs \"1\".ext4","locking":"off","read-only":true},"node-name":"disk0","read-only":true}
-device
{"drive":"disk0","driver":"virtio-blk-device","rerror":"report","serial":"rootfs","werror":"report"}
-blockdev
{"cache":{"direct":false,"no-flush":false},"discard":"unmap","driver":"raw","file":{"aio":"threads","discard":"unmap","driver":"file","filename":"/v/overlay.ext4","locking":"on","read-only":false},"node-name":"disk1","read-only":false}
-device
{"drive":"disk1","driver":"virtio-blk-device","rerror":"report","serial":"overlay","werror":"report"}
`), "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
}

func TestArgumentsUnderKVM(t *testing.T) {
	got := strings.Join(arguments(testHost(accel.KVM), vmm.Config{ID: "a", VCPU: 1, Memory: 64 << 20}, sockets{}), " ")
	for _, want := range []string{"-accel kvm -cpu host"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %s", want, got)
		}
	}
	for _, not := range []string{"tsc_early_khz", "-netdev", "-initrd", "tcg"} {
		if strings.Contains(got, not) {
			t.Errorf("%q in %s", not, got)
		}
	}
}

func TestParseVersion(t *testing.T) {
	for _, one := range []struct {
		name, text string
		want       version
		fails      bool
	}{
		{name: "debian", text: "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\nCopyright", want: version{7, 2, 22}},
		{name: "two numbers", text: "QEMU emulator version 9.1\n", want: version{9, 1, 0}},
		{name: "release candidate", text: "QEMU emulator version 10.0.50 (v10.0.0-rc1)", want: version{10, 0, 50}},
		{name: "not first", text: "warning: x\nQEMU emulator version 8.0.0\n", want: version{8, 0, 0}},
		{name: "empty", text: "", fails: true},
		{name: "another program", text: "busybox 1.35", fails: true},
		{name: "absurd number", text: "QEMU emulator version 123456.1", fails: true},
	} {
		t.Run(one.name, func(t *testing.T) {
			got, err := parseVersion(one.text)
			if (err != nil) != one.fails || got != one.want {
				t.Errorf("got %v, %v; want %v", got, err, one.want)
			}
		})
	}
}

func TestVersionLess(t *testing.T) {
	ordered := []version{{6, 9, 9}, {7, 1, 99}, {7, 2, 0}, {7, 2, 1}, {8, 0, 0}, {10, 0, 0}}
	for i := range ordered {
		for j := range ordered {
			if got := ordered[i].less(ordered[j]); got != (i < j) {
				t.Errorf("%v less than %v: %v", ordered[i], ordered[j], got)
			}
		}
	}
}
