//go:build linux

package main

import (
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/vmm/vmmtest/guestproto"
)

// echoFrame says "ok <mac>", then sends the first frame of the test's type back with its addresses swapped.
func echoFrame(out io.Writer) error {
	nic, err := net.InterfaceByName("eth0")
	if err != nil {
		return err
	}
	if err := linkUp(nic.Name); err != nil {
		return err
	}
	kind := uint16(guestproto.EtherType>>8 | guestproto.EtherType<<8&0xff00) // network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(kind))
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: kind, Ifindex: nic.Index}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if _, err := fmt.Fprintln(out, "ok", nic.HardwareAddr); err != nil {
		return err
	}
	frame := make([]byte, 64<<10)
	n, err := unix.Read(fd, frame)
	if err != nil {
		return os.NewSyscallError("read", err)
	}
	frame = frame[:n]
	var dst [6]byte
	copy(dst[:], frame[:6])
	copy(frame[:6], frame[6:12])
	copy(frame[6:12], dst[:])
	_, err = unix.Write(fd, frame)
	return os.NewSyscallError("write", err)
}

func linkUp(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP)
	return os.NewSyscallError("SIOCSIFFLAGS", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req))
}
