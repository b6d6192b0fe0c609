package child

import (
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// end is our end of a socket pair. When its peer has gone, reads give what is left, then io.EOF, and it closes itself:
// readers that have no Close to call leave nothing open.
type end struct{ net.Conn }

func (e end) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		_ = e.Close()
	}
	return n, err
}

// Pair makes a connected pair of stream sockets: a connection for us, and a file to pass to a child.
func Pair(name string) (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make %s link: %w", name, os.NewSyscallError("socketpair", err))
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name)
	conn, err := connection(ours)
	if err != nil {
		_ = theirs.Close()
		return nil, nil, fmt.Errorf("make %s link: %w", name, err)
	}
	return conn, theirs, nil
}

// Conns makes a connected pair of stream sockets of which both ends stay in this process.
func Conns(name string) (ours, theirs net.Conn, err error) {
	ours, file, err := Pair(name)
	if err != nil {
		return nil, nil, err
	}
	if theirs, err = connection(file); err != nil {
		_ = ours.Close()
		return nil, nil, fmt.Errorf("make %s link: %w", name, err)
	}
	return ours, theirs, nil
}

// connection takes f over.
func connection(f *os.File) (net.Conn, error) {
	conn, err := net.FileConn(f) // a duplicate
	_ = f.Close()
	if err != nil {
		return nil, err
	}
	return end{conn}, nil
}
