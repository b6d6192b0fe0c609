package unixsock

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Detach takes a listener that [Listen] made apart: the file is the listening socket, to be given to a child process,
// and the listener is closed without removing the socket. Connections wait until the child accepts them, and are
// refused once nobody has the file open any more.
func Detach(l net.Listener) (*os.File, error) {
	own, ok := l.(*listener)
	if !ok {
		return nil, fmt.Errorf("detach socket: %T was not made by Listen", l)
	}
	file, err := own.File()
	own.once.Do(func() { own.err = errors.Join(own.UnixListener.Close(), own.dir.Close()) })
	if err != nil {
		return nil, fmt.Errorf("detach socket %s: %w", own.path, err)
	}
	return file, nil
}

// Attach makes a listener of a file that [Detach] returned, in another process perhaps. path is the one that Listen was
// given. It behaves as Listen's: it refuses other users, and Close removes the socket. The file is closed.
func Attach(file *os.File, path string) (net.Listener, error) {
	inner, err := net.FileListener(file) // a duplicate, closed on exec
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("attach socket %s: %w", path, err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		_ = inner.Close()
		return nil, fmt.Errorf("attach socket: %w", err)
	}
	socket, ok := inner.(*net.UnixListener)
	if !ok {
		err = fmt.Errorf("it is a %T", inner)
	}
	l := &listener{UnixListener: socket, dir: dir, path: path}
	if err == nil {
		l.SetUnlinkOnClose(false)
		err = unix.Fstatat(int(dir.Fd()), filepath.Base(path), &l.inode, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		_, _ = inner.Close(), dir.Close()
		return nil, fmt.Errorf("attach socket %s: %w", path, err)
	}
	return l, nil
}
