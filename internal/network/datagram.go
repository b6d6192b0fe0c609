package network

import (
	"errors"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// datagramMax is the size of the largest datagram that can arrive, in bytes.
const datagramMax = 64 << 10

// datagrams are lent to readers while they handle one datagram, not while they wait for one: a flow that is idle
// holds none.
var datagrams = sync.Pool{New: func() any { return new([datagramMax]byte) }}

// sendDatagram sends p, or loses it when the socket is busy: a slow socket must not hold up the link.
func sendDatagram(conn *net.UDPConn, p []byte) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var sendErr error
	err = raw.Write(func(fd uintptr) bool {
		sendErr = unix.Send(int(fd), p, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		return true
	})
	if err != nil {
		return err
	}
	if errors.Is(sendErr, unix.EAGAIN) || errors.Is(sendErr, unix.ENOBUFS) {
		return nil
	}
	return sendErr
}

// receive calls handle for each datagram that comes in for f, until f is idle for too long or its socket is closed.
// failed is called for the errors that the network reports about packets sent earlier.
func (f *flow) receive(handle func([]byte), failed func(error)) {
	raw, err := f.conn.SyscallConn()
	if err != nil {
		return
	}
	for {
		if err := f.conn.SetReadDeadline(f.expiry()); err != nil {
			return
		}
		var socketErr error
		err := raw.Read(func(fd uintptr) bool {
			socketErr = receiveOne(int(fd), handle)
			return !errors.Is(socketErr, unix.EAGAIN)
		})
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if f.idle() {
				return
			}
		case err != nil:
			return
		case socketErr != nil:
			failed(socketErr)
		default:
			f.answered.Store(true)
			f.touch()
		}
	}
}

func receiveOne(fd int, handle func([]byte)) error {
	buf := datagrams.Get().(*[datagramMax]byte)
	defer datagrams.Put(buf)
	n, _, err := unix.Recvfrom(fd, buf[:], unix.MSG_DONTWAIT)
	if err != nil {
		return err
	}
	handle(buf[:n])
	return nil
}
