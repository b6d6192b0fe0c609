// Package unixsock listens on and dials Unix sockets that only this user may use, whatever the length of their path.
package unixsock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/errdefs"
)

// maxPath is the longest path that fits sockaddr_un's 108 bytes with its final zero (unix(7)).
const maxPath = 107

// Listen makes the socket path with mode 0600 and listens on it. What a process that is gone has left there is
// removed; a socket that someone listens on is errdefs.ErrInUse. The directory is locked while that is found out, so
// that of several callers one wins. Accept refuses connections of other users; Close removes the socket.
func Listen(path string) (net.Listener, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l, err := listen(dir, path)
	if err != nil {
		_ = dir.Close() // read-only
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

func listen(dir *os.File, path string) (*listener, error) {
	fd := int(dir.Fd())
	if err := unix.Flock(fd, unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock its directory: %w", err)
	}
	defer func() { _ = unix.Flock(fd, unix.LOCK_UN) }() // cannot fail on an open file
	if err := removeDead(dir, path); err != nil {
		return nil, err
	}
	// The socket's inode takes the mode that the unbound socket has, so no moment is left to outsiders.
	private := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); e != nil {
			return e
		}
		return err
	}}
	inner, err := private.Listen(context.Background(), "unix", address(dir, path))
	if err != nil {
		return nil, unwrapOp(err)
	}
	l := &listener{UnixListener: inner.(*net.UnixListener), dir: dir, path: path}
	l.SetUnlinkOnClose(false)
	if err := unix.Fstatat(fd, filepath.Base(path), &l.inode, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		_ = inner.Close()
		return nil, err
	}
	return l, nil
}

// removeDead removes a socket that nobody listens on.
func removeDead(dir *os.File, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errdefs.New(errdefs.ErrExists, "something that is not a socket is there")
	}
	var d net.Dialer
	c, err := d.DialContext(context.Background(), "unix", address(dir, path)) // answers at once, for good or bad
	switch {
	case err == nil:
		_ = c.Close()
		return errdefs.New(errdefs.ErrInUse, "another process listens there")
	case errors.Is(err, unix.EAGAIN): // its backlog is full
		return errdefs.New(errdefs.ErrInUse, "another process listens there")
	case errors.Is(err, unix.ECONNREFUSED):
		return os.Remove(path)
	}
	return unwrapOp(err)
}

// address is a path to the socket short enough to bind or connect to; dir must stay open while it is used.
func address(dir *os.File, path string) string {
	if len(path) <= maxPath {
		return path
	}
	return filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), filepath.Base(path))
}

// unwrapOp takes off the net package's layer, which repeats the address or shows one below /proc.
func unwrapOp(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

type listener struct {
	*net.UnixListener
	dir   *os.File
	path  string
	inode unix.Stat_t
	once  sync.Once
	err   error
}

// Accept returns the next connection of this process's user.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.UnixListener.Accept()
		if err != nil {
			return nil, err
		}
		pid, uid, err := Peer(c)
		if err == nil && uid == os.Geteuid() {
			return c, nil
		}
		slog.Warn("connection refused: not this user's", "socket", l.path, "pid", pid, "uid", uid, "error", err)
		_ = c.Close()
	}
}

// Addr returns the socket's path as it was given to Listen.
func (l *listener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// Close ends Accept and removes the socket, unless another has taken its place.
func (l *listener) Close() error {
	l.once.Do(func() {
		var now unix.Stat_t
		name := filepath.Base(l.path)
		err := unix.Fstatat(int(l.dir.Fd()), name, &now, unix.AT_SYMLINK_NOFOLLOW)
		if err == nil && now.Ino == l.inode.Ino && now.Dev == l.inode.Dev {
			err = unix.Unlinkat(int(l.dir.Fd()), name, 0)
		}
		if errors.Is(err, unix.ENOENT) {
			err = nil
		}
		l.err = errors.Join(err, l.UnixListener.Close(), l.dir.Close())
	})
	return l.err
}

// Dial connects to the socket path.
func Dial(ctx context.Context, path string) (net.Conn, error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	defer func() { _ = dir.Close() }() // read-only
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", address(dir, path))
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", path, unwrapOp(err))
	}
	return c, nil
}

// Peer returns the process and the user at the other end of a Unix socket, as they were when it was connected.
func Peer(c net.Conn) (pid, uid int, err error) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return 0, 0, fmt.Errorf("ask for the peer: %T is no socket", c)
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0, 0, fmt.Errorf("ask for the peer: %w", err)
	}
	var cred *unix.Ucred
	if e := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); e != nil {
		err = e
	}
	if err != nil {
		return 0, 0, fmt.Errorf("ask for the peer: %w", err)
	}
	return int(cred.Pid), int(cred.Uid), nil
}
