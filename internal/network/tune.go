package network

import (
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// TCP on the link. The round trip takes a fraction of a millisecond, so that a few frames in flight fill it; the
// buffers that matter for far servers are those of the host's sockets.
const (
	bufferMin     = 16 << 10
	bufferDefault = 256 << 10
	bufferMax     = 256 << 10

	// With more than manyTCP connections, further ones get bufferMany, so that a guest whose peers do not read
	// cannot make the shim as large as itself.
	manyTCP    = 128
	bufferMany = 32 << 10

	// timeWait is how long a closed connection's ports stay reserved. Nothing on the link is delayed, let alone
	// for the minutes of RFC 9293.
	timeWait = time.Second
)

func tuneTCP(s *stack.Stack) error {
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: bufferMin, Default: bufferDefault, Max: bufferMax}
	send := tcpip.TCPSendBufferSizeRangeOption{Min: bufferMin, Default: bufferDefault, Max: bufferMax}
	sack := tcpip.TCPSACKEnabled(true)
	moderate := tcpip.TCPModerateReceiveBufferOption(false)
	wait := tcpip.TCPTimeWaitTimeoutOption(timeWait)
	for _, option := range []tcpip.SettableTransportProtocolOption{&receive, &send, &sack, &moderate, &wait} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
			return stackError("set up TCP", err)
		}
	}
	return nil
}

// shrink gives a connection that is one of many smaller buffers.
func shrink(endpoint tcpip.Endpoint) {
	endpoint.SocketOptions().SetReceiveBufferSize(bufferMany, true)
	endpoint.SocketOptions().SetSendBufferSize(bufferMany, true)
}
