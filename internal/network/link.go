package network

import (
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	queuePackets = 1024    // packets waiting for the guest to take them
	queueBytes   = 4 << 20 // their size; what comes on top is dropped, as on any full link
	batchPackets = 64      // packets written with one system call, at most
	batchBytes   = 256 << 10
)

// link is the stack's Ethernet device: frames to and from the guest, over one stream. It never blocks the stack:
// a guest that does not read loses packets, and TCP slows down.
type link struct {
	conn  net.Conn
	queue chan *stack.PacketBuffer
	done  chan struct{} // closed when the writer must end

	queued     atomic.Int64 // bytes in queue
	dropped    atomic.Uint64
	refused    atomic.Uint64 // frames that admit did not let in
	dispatcher atomic.Pointer[stack.NetworkDispatcher]
}

var _ stack.LinkEndpoint = (*link)(nil)

func newLink(conn net.Conn) *link {
	return &link{conn: conn, queue: make(chan *stack.PacketBuffer, queuePackets), done: make(chan struct{})}
}

// run carries frames in both directions until the stream ends or conn is closed, and closes conn.
// It returns io.EOF when the guest's end was closed between two frames.
func (l *link) run() error {
	var writer sync.WaitGroup
	var writeErr error
	writer.Go(func() {
		if writeErr = l.writeLoop(); writeErr != nil {
			_ = l.conn.Close() // wakes the reader; the write error is the one that is reported
		}
	})
	err := l.readLoop()
	close(l.done)
	_ = l.conn.Close() // both directions are given up; there is nobody left to tell
	writer.Wait()
	if writeErr != nil {
		return writeErr
	}
	return err
}

func (l *link) readLoop() error {
	frames := newFrameReader(l.conn)
	for {
		frame, err := frames.next()
		if err != nil {
			return err
		}
		l.deliver(frame)
	}
}

// deliver hands one frame to the stack, which does its work on the caller's goroutine.
func (l *link) deliver(frame *buffer.View) {
	protocol, ok := admit(frame.AsSlice())
	dispatcher := l.dispatcher.Load()
	if !ok || dispatcher == nil {
		l.refused.Add(1)
		frame.Release()
		return
	}
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(frame)})
	defer pkt.DecRef()
	if !l.ParseHeader(pkt) {
		return
	}
	pkt.PktType = packetType(header.Ethernet(pkt.LinkHeader().Slice()).DestinationAddress())
	pkt.NetworkProtocolNumber = protocol
	(*dispatcher).DeliverNetworkPacket(protocol, pkt)
}

func packetType(destination tcpip.LinkAddress) tcpip.PacketType {
	switch {
	case destination == gatewayMAC:
		return tcpip.PacketHost
	case destination == header.EthernetBroadcastAddress:
		return tcpip.PacketBroadcast
	case header.IsMulticastEthernetAddress(destination):
		return tcpip.PacketMulticast
	default:
		return tcpip.PacketOtherHost
	}
}

// WritePackets queues packets for the guest. The stack calls it from many goroutines.
func (l *link) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	for i, pkt := range pkts.AsSlice() {
		if !l.enqueue(pkt) {
			l.dropped.Add(1)
			return i, &tcpip.ErrNoBufferSpace{}
		}
	}
	return pkts.Len(), nil
}

func (l *link) enqueue(pkt *stack.PacketBuffer) bool {
	size := int64(pkt.Size())
	if l.queued.Add(size) > queueBytes {
		l.queued.Add(-size)
		return false
	}
	select {
	case l.queue <- pkt.IncRef():
		return true
	default:
		pkt.DecRef()
		l.queued.Add(-size)
		return false
	}
}

func (l *link) writeLoop() error {
	defer l.drain()
	var b batch
	for {
		select {
		case <-l.done:
			return nil
		case pkt := <-l.queue:
			b.add(pkt)
		}
		l.fill(&b)
		err := b.write(l.conn)
		l.queued.Add(-int64(b.size))
		b.reset()
		if err != nil {
			return fmt.Errorf("write to guest: %w", err)
		}
	}
}

// fill adds what else waits, without waiting for more.
func (l *link) fill(b *batch) {
	for len(b.pkts) < batchPackets && b.size < batchBytes {
		select {
		case pkt := <-l.queue:
			b.add(pkt)
		default:
			return
		}
	}
}

func (l *link) drain() {
	for {
		select {
		case pkt := <-l.queue:
			l.queued.Add(-int64(pkt.Size()))
			pkt.DecRef()
		default:
			return
		}
	}
}

// batch is a number of packets that are written at once.
type batch struct {
	pkts     []*stack.PacketBuffer
	prefixes [batchPackets][4]byte
	slices   net.Buffers
	size     int // of the packets, in bytes
}

func (b *batch) add(pkt *stack.PacketBuffer) {
	size := pkt.Size()
	prefix := b.prefixes[len(b.pkts)][:]
	binary.BigEndian.PutUint32(prefix, uint32(size))
	b.slices = append(b.slices, prefix)
	views, offset := pkt.AsViewList()
	for v := views.Front(); v != nil; v = v.Next() {
		part := v.AsSlice()
		skip := min(offset, len(part))
		offset -= skip
		if part = part[skip:]; len(part) > 0 {
			b.slices = append(b.slices, part)
		}
	}
	b.pkts = append(b.pkts, pkt)
	b.size += size
}

// write sends everything; b.slices stays as it is, so that its array can be used again.
func (b *batch) write(conn net.Conn) error {
	rest := b.slices
	_, err := rest.WriteTo(conn)
	return err
}

func (b *batch) reset() {
	for _, pkt := range b.pkts {
		pkt.DecRef()
	}
	clear(b.pkts)
	clear(b.slices)
	b.pkts, b.slices, b.size = b.pkts[:0], b.slices[:0], 0
}
