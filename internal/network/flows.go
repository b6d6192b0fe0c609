package network

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxFlows = 512 // of one protocol
	// A flow that was never answered is forgotten sooner (RFC 4787, section 4.3, asks for 2 minutes for the others).
	idleUnanswered = 30 * time.Second
	idleAnswered   = 2 * time.Minute
)

// flowKey names a datagram flow: for echo requests the port of guest is their identifier and that of remote is 0.
type flowKey struct {
	guest, remote netip.AddrPort
}

// flow is a connected datagram socket of the host that stands for the guest towards one remote.
type flow struct {
	key      flowKey
	conn     *net.UDPConn
	quote    []byte       // of the packet that began it
	used     atomic.Int64 // when a packet went either way, in Unix nanoseconds
	answered atomic.Bool
}

func (f *flow) touch() { f.used.Store(time.Now().UnixNano()) }

// expiry is when the flow is to be forgotten if nothing more happens.
func (f *flow) expiry() time.Time {
	idle := idleUnanswered
	if f.answered.Load() {
		idle = idleAnswered
	}
	return time.Unix(0, f.used.Load()).Add(idle)
}

// flowTable holds a bounded number of flows. A new one takes the place of the one that was idle the longest.
type flowTable struct {
	mu     sync.Mutex
	flows  map[flowKey]*flow
	closed bool
}

func newFlowTable() *flowTable { return &flowTable{flows: map[flowKey]*flow{}} }

func (t *flowTable) get(key flowKey) (*flow, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, ok := t.flows[key]
	return f, ok
}

// add takes a new flow. It refuses after close.
func (t *flowTable) add(f *flow) bool {
	f.touch()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	if len(t.flows) >= maxFlows {
		t.evict()
	}
	t.flows[f.key] = f
	return true
}

func (t *flowTable) evict() {
	var oldest *flow
	for _, f := range t.flows {
		if oldest == nil || f.used.Load() < oldest.used.Load() {
			oldest = f
		}
	}
	delete(t.flows, oldest.key)
	_ = oldest.conn.Close() // ends its reader
}

// remove forgets a flow and closes its socket.
func (t *flowTable) remove(f *flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flows[f.key] == f {
		delete(t.flows, f.key)
	}
	_ = f.conn.Close() // datagrams that were accepted are the kernel's
}

// close forgets every flow and takes no more.
func (t *flowTable) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for key, f := range t.flows {
		delete(t.flows, key)
		_ = f.conn.Close() // ends its reader
	}
}

// idle tells whether the flow has reached its expiry.
func (f *flow) idle() bool { return !time.Now().Before(f.expiry()) }
