// Package dns is the name server of a VM's link. It knows no names: it asks the host's resolvers.
package dns

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	mdns "github.com/miekg/dns"
)

const (
	maxInFlight = 128 // queries; more are answered with SERVFAIL
	maxStreams  = 32  // TCP connections; more are closed
	// maxDatagram is the largest UDP answer, whatever the client says it can take. The link loses and fragments
	// nothing below it.
	maxDatagram  = 4096
	streamIdle   = 10 * time.Second
	queryTimeout = 8 * time.Second // in all; a resolver library asks again after 5 s, which then joins the queue
)

// Config is what a server needs.
type Config struct {
	Resolvers func() []string // host:port, best first; called for each query
	Log       *slog.Logger
}

// Server answers DNS queries. It is safe for concurrent use and needs no closing.
type Server struct {
	upstream *upstream
	log      *slog.Logger
	inFlight chan struct{}
	streams  chan struct{}
}

// New returns a server.
func New(c Config) *Server {
	return &Server{
		upstream: &upstream{resolvers: c.Resolvers},
		log:      c.Log,
		inFlight: make(chan struct{}, maxInFlight),
		streams:  make(chan struct{}, maxStreams),
	}
}

// Answer returns the packed answer to a query that came in a datagram, cut to what the client takes.
// It is nil when the query deserves none. It blocks while the host's resolvers are asked.
func (s *Server) Answer(ctx context.Context, query []byte) []byte {
	return s.answer(ctx, query, false)
}

// ServeConn answers the queries on one stream (RFC 1035, section 4.2.2), one after the other, and closes it.
func (s *Server) ServeConn(ctx context.Context, conn net.Conn) {
	closeConn := sync.OnceFunc(func() { _ = conn.Close() }) // the client sees the end of the stream either way
	defer closeConn()
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		return
	}
	defer context.AfterFunc(ctx, closeConn)()
	for s.serveOne(ctx, conn) {
	}
}

func (s *Server) serveOne(ctx context.Context, conn net.Conn) bool {
	if err := conn.SetReadDeadline(time.Now().Add(streamIdle)); err != nil {
		return false
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return false
	}
	query := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, query); err != nil {
		return false
	}
	answer := s.answer(ctx, query, true)
	if answer == nil {
		return false
	}
	if err := conn.SetWriteDeadline(time.Now().Add(streamIdle)); err != nil {
		return false
	}
	_, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	return err == nil
}

func (s *Server) answer(ctx context.Context, raw []byte, stream bool) []byte {
	query := new(mdns.Msg)
	if err := query.Unpack(raw); err != nil || query.Response {
		return malformed(raw)
	}
	reply := s.resolve(ctx, query)
	fit(reply, query, stream)
	packed, err := reply.Pack()
	if err != nil {
		s.log.Debug("DNS answer cannot be packed", "error", err)
		return malformed(raw)
	}
	return packed
}

// malformed answers FORMERR to what has at least a query's header, and nothing to the rest: answers to answers would
// go round for ever.
func malformed(raw []byte) []byte {
	const headerSize = 12
	const response = 1 << 7
	if len(raw) < headerSize || raw[2]&response != 0 {
		return nil
	}
	out := make([]byte, headerSize)
	copy(out, raw[:2])
	out[2] = response | raw[2]&0x79 // opcode and recursion desired are kept
	out[3] = mdns.RcodeFormatError
	return out
}

// resolve returns an answer, always.
func (s *Server) resolve(ctx context.Context, query *mdns.Msg) *mdns.Msg {
	if code := refuse(query); code != mdns.RcodeSuccess {
		return new(mdns.Msg).SetRcode(query, code)
	}
	select {
	case s.inFlight <- struct{}{}:
		defer func() { <-s.inFlight }()
	default:
		return new(mdns.Msg).SetRcode(query, mdns.RcodeServerFailure)
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	reply, err := s.upstream.ask(ctx, query)
	if err != nil {
		s.log.Debug("DNS query failed", "name", query.Question[0].Name, "error", err)
		return new(mdns.Msg).SetRcode(query, mdns.RcodeServerFailure)
	}
	return reply
}

// refuse returns why a query is not passed on, or RcodeSuccess.
func refuse(query *mdns.Msg) int {
	if query.Opcode != mdns.OpcodeQuery {
		return mdns.RcodeNotImplemented
	}
	if len(query.Question) != 1 {
		return mdns.RcodeFormatError
	}
	switch query.Question[0].Qtype {
	case mdns.TypeAXFR, mdns.TypeIXFR: // answers of many messages, which no stub resolver asks for
		return mdns.RcodeRefused
	default:
		return mdns.RcodeSuccess
	}
}

// fit makes reply one that the client can take: with EDNS0 only if the client used it (RFC 6891, section 7), and
// truncated to the client's size on UDP.
func fit(reply, query *mdns.Msg, stream bool) {
	reply.Id = query.Id
	reply.Response = true
	reply.Compress = true
	asked := query.IsEdns0()
	strip(reply)
	if asked != nil {
		reply.SetEdns0(maxDatagram, asked.Do())
	}
	limit := mdns.MaxMsgSize
	if !stream {
		limit = mdns.MinMsgSize
		if asked != nil {
			limit = min(max(int(asked.UDPSize()), mdns.MinMsgSize), maxDatagram)
		}
	}
	reply.Truncate(limit)
}

// strip takes the EDNS0 record, which belongs to one hop, out of a message.
func strip(m *mdns.Msg) {
	kept := m.Extra[:0]
	for _, rr := range m.Extra {
		if rr.Header().Rrtype != mdns.TypeOPT {
			kept = append(kept, rr)
		}
	}
	m.Extra = kept
}
