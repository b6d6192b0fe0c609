// Package uevent waits for what the kernel makes: devices, and their entries in /sys and /dev.
package uevent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Wait returns as soon as ready says so, which is asked now and whenever the kernel announces a change, or when ctx ends.
// An error of ready ends it too.
func Wait(ctx context.Context, ready func() (bool, error)) error {
	if ok, err := ready(); ok || err != nil {
		return err
	}
	events, err := listen()
	if err != nil {
		return err
	}
	defer events.Close()
	defer context.AfterFunc(ctx, func() { _ = events.SetReadDeadline(time.Unix(1, 0)) })()
	// What an event says does not matter: it is the occasion to look again. One may have been missed before listen.
	buf := make([]byte, 8<<10)
	for {
		if ok, err := ready(); ok || err != nil {
			return err
		}
		_, err := events.Read(buf)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil && !errors.Is(err, unix.ENOBUFS): // which says that events were lost
			return fmt.Errorf("read kernel events: %w", err)
		}
	}
}

// listen subscribes to the kernel's own events, those that udev listens to.
func listen() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, fmt.Errorf("open kernel events: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("subscribe to kernel events: %w", err)
	}
	return os.NewFile(uintptr(fd), "uevent"), nil
}
