package dns

import (
	"net"
	"os"
	"sync"
	"time"

	mdns "github.com/miekg/dns"
)

// ResolvConf is a resolv.conf(5) file that is read again when it has changed. It is safe for concurrent use.
type ResolvConf struct {
	path string

	mu      sync.Mutex
	changed time.Time
	size    int64
	servers []string
}

// NewResolvConf returns the file at path, which need not exist.
func NewResolvConf(path string) *ResolvConf { return &ResolvConf{path: path} }

// Servers returns the file's name servers as host:port, none if it cannot be read.
func (r *ResolvConf) Servers() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	info, err := os.Stat(r.path)
	if err != nil {
		r.changed, r.size, r.servers = time.Time{}, 0, nil
		return nil
	}
	if info.ModTime().Equal(r.changed) && info.Size() == r.size {
		return r.servers
	}
	r.changed, r.size, r.servers = info.ModTime(), info.Size(), readServers(r.path)
	return r.servers
}

func readServers(path string) []string {
	file, err := mdns.ClientConfigFromFile(path)
	if err != nil {
		return nil
	}
	servers := make([]string, 0, len(file.Servers))
	for _, host := range file.Servers {
		servers = append(servers, net.JoinHostPort(host, file.Port))
	}
	return servers
}
