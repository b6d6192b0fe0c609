package network

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	maxTCP      = 1024 // connections at a time
	maxHalfOpen = 256  // of these, not yet accepted
	// dialTimeout is how long the host tries. Then the guest is told nothing: its own attempt, which started
	// earlier and tries again, times out as it would on a wire.
	dialTimeout = 60 * time.Second
)

// tcpForwarder opens on the host what the guest opens, and accepts the guest's connection only when that has worked.
type tcpForwarder struct {
	out   *outbound
	stack *tcp.Forwarder

	mu   sync.Mutex
	half map[stack.TransportEndpointID]halfOpen
	open int // connections, half-open ones included
}

// halfOpen is a connection that the guest waits for.
type halfOpen struct {
	verdict Verdict
	quote   []byte // of its SYN
}

func newTCPForwarder(ctx context.Context, out *outbound) *tcpForwarder {
	f := &tcpForwarder{out: out, half: map[stack.TransportEndpointID]halfOpen{}}
	f.stack = tcp.NewForwarder(out.net, bufferDefault, maxHalfOpen, func(r *tcp.ForwarderRequest) {
		defer out.running.Done()
		f.connect(ctx, r)
	})
	return f
}

// handle takes the segments that belong to no connection. It runs on the link's reading goroutine.
func (f *tcpForwarder) handle(id stack.TransportEndpointID, pkt *stack.PacketBuffer) bool {
	flags := header.TCP(pkt.TransportHeader().Slice()).Flags()
	if flags&(header.TCPFlagSyn|header.TCPFlagAck) != header.TCPFlagSyn {
		return false // the stack answers with a reset
	}
	if f.full(id) {
		return true // a repeated SYN, or one too many: the guest will send it again
	}
	dst := destination(id)
	verdict := f.out.decide(TCP, dst)
	if verdict.Action == Deny {
		f.out.unreachable(quote(pkt), fromStack(id.RemoteAddress), dst.Addr(), failureProhibited)
		return true
	}
	f.begin(id, halfOpen{verdict: verdict, quote: quote(pkt)})
	if !f.stack.HandlePacket(id, pkt) {
		f.abandon(id)
		return false
	}
	return true
}

func destination(id stack.TransportEndpointID) netip.AddrPort {
	return netip.AddrPortFrom(fromStack(id.LocalAddress), id.LocalPort)
}

func (f *tcpForwarder) full(id stack.TransportEndpointID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, known := f.half[id]
	return known || len(f.half) >= maxHalfOpen || f.open >= maxTCP
}

// begin counts a connection. Only the link's reading goroutine adds, so full has not changed its mind.
func (f *tcpForwarder) begin(id stack.TransportEndpointID, h halfOpen) {
	f.out.running.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.half[id] = h
	f.open++
}

// abandon undoes begin for a segment that the stack's forwarder did not want.
func (f *tcpForwarder) abandon(id stack.TransportEndpointID) {
	f.decided(id)
	f.ended()
	f.out.running.Done()
}

// decided ends a connection's half-open time. The stack's forwarder must have forgotten the connection before:
// a SYN that is not in half is given to it and must start a new one.
func (f *tcpForwarder) decided(id stack.TransportEndpointID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.half, id)
}

func (f *tcpForwarder) ended() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open--
}

// connect serves one connection from its SYN to its end.
func (f *tcpForwarder) connect(ctx context.Context, r *tcp.ForwarderRequest) {
	defer f.ended()
	id := r.ID()
	f.mu.Lock()
	h := f.half[id]
	f.mu.Unlock()
	if h.verdict.Action == Local {
		f.serveDNS(ctx, r)
		return
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", h.verdict.Addr.String())
	if err != nil {
		f.refuse(r, h, failureOf(err))
		return
	}
	host := conn.(*net.TCPConn) // "tcp" dials nothing else
	guest, queue, ok := f.accept(r)
	if !ok {
		abort(host)
		return
	}
	newRelay(guest, queue, host).run(ctx)
}

// accept completes the handshake with the guest.
func (f *tcpForwarder) accept(r *tcp.ForwarderRequest) (tcpip.Endpoint, *waiter.Queue, bool) {
	id := r.ID()
	defer f.decided(id)
	queue := new(waiter.Queue)
	endpoint, err := r.CreateEndpoint(queue)
	r.Complete(err != nil) // with a reset if the guest has lost interest halfway
	if err != nil {
		f.out.log.Debug("guest did not complete its connection", "destination", destination(id), "error", err)
		return nil, nil, false
	}
	if f.many() {
		shrink(endpoint)
	}
	return endpoint, queue, true
}

func (f *tcpForwarder) many() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.open > manyTCP
}

// refuse tells the guest why there is no connection.
func (f *tcpForwarder) refuse(r *tcp.ForwarderRequest, h halfOpen, why failure) {
	id := r.ID()
	r.Complete(why == failureRefused)
	f.decided(id)
	if why != failureRefused {
		f.out.unreachable(h.quote, fromStack(id.RemoteAddress), fromStack(id.LocalAddress), why)
	}
}

func (f *tcpForwarder) serveDNS(ctx context.Context, r *tcp.ForwarderRequest) {
	endpoint, queue, ok := f.accept(r)
	if !ok {
		return
	}
	f.out.resolver.ServeConn(ctx, gonet.NewTCPConn(queue, endpoint))
}
