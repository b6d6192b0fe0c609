package shim

import (
	"net"
	"sync"
	"time"
)

// portSession is the guest's port as one session sees it: closing it ends the session's reads and writes and leaves the
// port open for the next one.
type portSession struct {
	net.Conn
	once sync.Once
	err  error
}

// newPortSession makes the port ready for another session. The one before must have been closed.
func newPortSession(port net.Conn) (*portSession, error) {
	return &portSession{Conn: port}, port.SetDeadline(time.Time{})
}

// Close ends the session on this side.
func (p *portSession) Close() error {
	p.once.Do(func() { p.err = p.SetDeadline(time.Unix(1, 0)) })
	return p.err
}
