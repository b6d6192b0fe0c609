package fake

import (
	"net"
	"sync"
)

// gate is what a paused guest waits at.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // nil while the gate is open; closed when it opens
	gone bool          // the machine has ended: the gate stays open
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil && !g.gone {
		g.shut = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

// remove opens the gate for good.
func (g *gate) remove() {
	g.mu.Lock()
	g.gone = true
	g.mu.Unlock()
	g.open()
}

func (g *gate) wait() {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut != nil {
		<-shut
	}
}

// gated is a connection of the guest.
type gated struct {
	net.Conn
	gate *gate
}

// Read waits again after data came: the guest may have been paused meanwhile.
func (c gated) Read(p []byte) (int, error) {
	c.gate.wait()
	n, err := c.Conn.Read(p)
	c.gate.wait()
	return n, err
}

func (c gated) Write(p []byte) (int, error) {
	c.gate.wait()
	return c.Conn.Write(p)
}
