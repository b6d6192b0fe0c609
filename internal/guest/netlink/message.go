package netlink

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// message is a netlink request (netlink(7)) under construction: header, body, attributes.
type message struct{ b []byte }

func newMessage(kind, flags uint16) *message {
	m := &message{}
	return m.u32(0).u16(kind, flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK).u32(0, 0)
}

func (m *message) u8(values ...uint8) *message {
	m.b = append(m.b, values...)
	return m
}

func (m *message) u16(values ...uint16) *message {
	for _, v := range values {
		m.b = binary.NativeEndian.AppendUint16(m.b, v)
	}
	return m
}

func (m *message) u32(values ...uint32) *message {
	for _, v := range values {
		m.b = binary.NativeEndian.AppendUint32(m.b, v)
	}
	return m
}

// attr adds an attribute, padded to four bytes.
func (m *message) attr(kind uint16, value []byte) {
	m.u16(uint16(unix.SizeofRtAttr+len(value)), kind)
	m.b = append(m.b, value...)
	for len(m.b)%unix.NLMSG_ALIGNTO != 0 {
		m.b = append(m.b, 0)
	}
}

// finish fills in the length and the sequence number.
func (m *message) finish(seq uint32) []byte {
	binary.NativeEndian.PutUint32(m.b[0:], uint32(len(m.b)))
	binary.NativeEndian.PutUint32(m.b[8:], seq)
	return m.b
}
