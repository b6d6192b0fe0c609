package qemu

import (
	"net"
	"os"

	"github.com/banger-dev/banger/internal/vmm/child"
)

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
		conn, file, err := child.Pair(one.name)
		if err != nil {
			l.closeFiles()
			l.close()
			return nil, err
		}
		*one.conn, *one.fd = conn, child.FirstFD+len(l.files)
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
