package qemu

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// link is our end of a socket pair. When its peer has gone, reads give what is left, then io.EOF, and it closes itself:
// readers that have no Close to call leave nothing open.
type link struct{ net.Conn }

func (l link) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if err != nil && !isTimeout(err) {
		_ = l.Close()
	}
	return n, err
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error) //nolint:errorlint // package net returns it unwrapped
	return ok && e.Timeout()
}

// pair makes a connected pair of stream sockets: a connection for us and a file for a child.
func pair(name string) (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make %s link: %w", name, os.NewSyscallError("socketpair", err))
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), name), os.NewFile(uintptr(fds[1]), name)
	conn, err := net.FileConn(ours) // a duplicate
	_ = ours.Close()
	if err != nil {
		_ = theirs.Close()
		return nil, nil, fmt.Errorf("make %s link: %w", name, err)
	}
	return link{conn}, theirs, nil
}

// firstFD is the number of the first of exec.Cmd.ExtraFiles in the child.
const firstFD = 3

// links are the connections of one machine.
type links struct {
	qmp, agent, console, network net.Conn // network may be nil
	files                        []*os.File
	fd                           sockets
}

func newLinks(withNetwork bool) (*links, error) {
	l := &links{}
	for _, one := range []struct {
		name string
		conn *net.Conn
		fd   *int
		skip bool
	}{
		{"qmp", &l.qmp, &l.fd.qmp, false},
		{"console", &l.console, &l.fd.console, false},
		{"agent", &l.agent, &l.fd.agent, false},
		{"network", &l.network, &l.fd.network, !withNetwork},
	} {
		if one.skip {
			continue
		}
		conn, file, err := pair(one.name)
		if err != nil {
			l.closeFiles()
			l.close()
			return nil, err
		}
		*one.conn, *one.fd = conn, firstFD+len(l.files)
		l.files = append(l.files, file)
	}
	return l, nil
}

// closeFiles closes the child's ends in this process; only then does its end end the connections.
func (l *links) closeFiles() {
	for _, f := range l.files {
		_ = f.Close()
	}
	l.files = nil
}

// close closes our ends.
func (l *links) close() {
	for _, c := range []net.Conn{l.qmp, l.agent, l.console, l.network} {
		if c != nil {
			_ = c.Close()
		}
	}
}
