package dns

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// resolver is a name server of the host, on one loopback port by UDP and TCP.
type resolver struct {
	addr    string
	queries atomic.Int64
	streams atomic.Int64
}

func newResolver(t testing.TB, handle func(w mdns.ResponseWriter, q *mdns.Msg)) *resolver {
	t.Helper()
	r := &resolver{}
	handler := mdns.HandlerFunc(func(w mdns.ResponseWriter, q *mdns.Msg) {
		r.queries.Add(1)
		if w.LocalAddr().Network() == "tcp" {
			r.streams.Add(1)
		}
		handle(w, q)
	})
	listener, conn := listenBoth(t)
	r.addr = listener.Addr().String()
	var running sync.WaitGroup
	t.Cleanup(running.Wait) // after the shutdowns below
	for _, server := range []*mdns.Server{{Listener: listener, Handler: handler}, {PacketConn: conn, Handler: handler}} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		running.Go(func() { _ = server.ActivateAndServe() })
		<-started
		t.Cleanup(func() { _ = server.Shutdown() })
	}
	return r
}

// listenBoth finds a port that is free for UDP and TCP.
func listenBoth(t testing.TB) (net.Listener, net.PacketConn) {
	t.Helper()
	for {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if conn, err := net.ListenPacket("udp", listener.Addr().String()); err == nil {
			return listener, conn
		}
		_ = listener.Close()
	}
}

// answerA answers with n addresses.
func answerA(n int) func(mdns.ResponseWriter, *mdns.Msg) {
	return func(w mdns.ResponseWriter, q *mdns.Msg) {
		m := new(mdns.Msg).SetReply(q)
		for i := range n {
			rr, _ := mdns.NewRR(fmt.Sprintf("%s 60 IN A 192.0.2.%d", q.Question[0].Name, i%256))
			m.Answer = append(m.Answer, rr)
		}
		if opt := q.IsEdns0(); opt != nil {
			m.SetEdns0(4096, opt.Do())
			if w.LocalAddr().Network() == "udp" {
				m.Truncate(int(opt.UDPSize()))
			}
		}
		_ = w.WriteMsg(m)
	}
}

func answerCode(code int) func(mdns.ResponseWriter, *mdns.Msg) {
	return func(w mdns.ResponseWriter, q *mdns.Msg) { _ = w.WriteMsg(new(mdns.Msg).SetRcode(q, code)) }
}

// silent never answers.
func silent(mdns.ResponseWriter, *mdns.Msg) {}

func newServer(resolvers ...*resolver) *Server {
	addrs := make([]string, 0, len(resolvers))
	for _, r := range resolvers {
		addrs = append(addrs, r.addr)
	}
	return New(Config{Resolvers: func() []string { return addrs }, Log: slog.New(slog.DiscardHandler)})
}

func query(name string, edns int) *mdns.Msg {
	q := new(mdns.Msg).SetQuestion(name, mdns.TypeA)
	if edns > 0 {
		q.SetEdns0(uint16(edns), false)
	}
	return q
}

func ask(t testing.TB, s *Server, q *mdns.Msg) (*mdns.Msg, int) {
	t.Helper()
	raw, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	packed := s.Answer(t.Context(), raw)
	if packed == nil {
		t.Fatal("no answer")
	}
	reply := new(mdns.Msg)
	if err := reply.Unpack(packed); err != nil {
		t.Fatal(err)
	}
	if reply.Id != q.Id || !reply.Response {
		t.Errorf("id %d, response %v: not an answer to the query", reply.Id, reply.Response)
	}
	return reply, len(packed)
}

func TestAnswerSizes(t *testing.T) {
	for _, tc := range []struct {
		name          string
		records, edns int
		truncated     bool
		limit         int
	}{
		{"small", 1, 0, false, 512},
		{"small with EDNS0", 1, 1232, false, 1232},
		{"too large without EDNS0", 100, 0, true, 512},
		{"fits with EDNS0", 100, 4096, false, 4096},
		{"too large with EDNS0", 1000, 4096, true, 4096},
		{"absurd EDNS0 size, small", 100, 100, true, 512},
		{"absurd EDNS0 size, large", 1000, 65535, true, maxDatagram},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newServer(newResolver(t, answerA(tc.records)))
			reply, size := ask(t, s, query("banger.example.", tc.edns))
			if reply.Truncated != tc.truncated || size > tc.limit {
				t.Errorf("truncated %v, %d bytes; want %v, at most %d", reply.Truncated, size, tc.truncated, tc.limit)
			}
			if (reply.IsEdns0() != nil) != (tc.edns > 0) {
				t.Errorf("EDNS0 in the answer: %v", reply.IsEdns0())
			}
			if !tc.truncated && len(reply.Answer) != tc.records {
				t.Errorf("%d records", len(reply.Answer))
			}
		})
	}
}

func TestAnswerCodes(t *testing.T) {
	update := new(mdns.Msg).SetUpdate("banger.example.")
	none := new(mdns.Msg)
	none.Id = 7
	two := query("a.example.", 0)
	two.Question = append(two.Question, two.Question[0])
	transfer := new(mdns.Msg).SetAxfr("banger.example.")
	for _, tc := range []struct {
		name    string
		query   *mdns.Msg
		handle  func(mdns.ResponseWriter, *mdns.Msg)
		want    int
		reached int64
	}{
		{"found", query("a.example.", 0), answerA(1), mdns.RcodeSuccess, 1},
		{"no such name", query("a.example.", 0), answerCode(mdns.RcodeNameError), mdns.RcodeNameError, 1},
		{"server failure", query("a.example.", 0), answerCode(mdns.RcodeServerFailure), mdns.RcodeServerFailure, 1},
		{"refused", query("a.example.", 0), answerCode(mdns.RcodeRefused), mdns.RcodeRefused, 1},
		{"update", update, answerA(1), mdns.RcodeNotImplemented, 0},
		{"no question", none, answerA(1), mdns.RcodeFormatError, 0},
		{"two questions", two, answerA(1), mdns.RcodeFormatError, 0},
		{"zone transfer", transfer, answerA(1), mdns.RcodeRefused, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			upstream := newResolver(t, tc.handle)
			reply, _ := ask(t, newServer(upstream), tc.query)
			if reply.Rcode != tc.want || upstream.queries.Load() != tc.reached {
				t.Errorf("got %s after %d queries, want %s after %d", mdns.RcodeToString[reply.Rcode],
					upstream.queries.Load(), mdns.RcodeToString[tc.want], tc.reached)
			}
		})
	}
}

func TestNextResolver(t *testing.T) {
	liar := func(w mdns.ResponseWriter, q *mdns.Msg) {
		other := q.Copy()
		other.Question[0].Name = "other.example."
		answerA(1)(w, other)
	}
	for name, first := range map[string]func(mdns.ResponseWriter, *mdns.Msg){
		"the first fails":                    answerCode(mdns.RcodeServerFailure),
		"the first refuses":                  answerCode(mdns.RcodeRefused),
		"the first says nothing":             silent,
		"the first answers another question": liar,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad, good := newResolver(t, first), newResolver(t, answerA(1))
			s := newServer(bad, good)
			for range 3 {
				if reply, _ := ask(t, s, query("a.example.", 0)); len(reply.Answer) != 1 {
					t.Fatalf("got %s", reply)
				}
			}
			if n := bad.queries.Load(); n != 1 {
				t.Errorf("the bad one was asked %d times: the good one should come first after it has answered", n)
			}
		})
	}
}

func TestTruncatedUpstream(t *testing.T) {
	upstream := newResolver(t, answerA(100)) // about 1600 bytes
	reply, _ := ask(t, newServer(upstream), query("a.example.", 4096))
	if len(reply.Answer) != 100 || upstream.streams.Load() != 1 {
		t.Errorf("got %d records, %d TCP queries", len(reply.Answer), upstream.streams.Load())
	}
}

func TestNoResolvers(t *testing.T) {
	start := time.Now()
	reply, _ := ask(t, newServer(), query("a.example.", 0))
	if reply.Rcode != mdns.RcodeServerFailure || time.Since(start) > time.Second {
		t.Errorf("got %s after %s", mdns.RcodeToString[reply.Rcode], time.Since(start))
	}
}

func TestDeadResolverIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a timeout")
	}
	t.Parallel()
	start := time.Now()
	reply, _ := ask(t, newServer(newResolver(t, silent)), query("a.example.", 0))
	if reply.Rcode != mdns.RcodeServerFailure || time.Since(start) > queryTimeout+time.Second {
		t.Errorf("got %s after %s", mdns.RcodeToString[reply.Rcode], time.Since(start))
	}
}

func TestInFlightIsBounded(t *testing.T) {
	release := make(chan struct{})
	upstream := newResolver(t, func(w mdns.ResponseWriter, q *mdns.Msg) {
		<-release
		answerA(1)(w, q)
	})
	s := newServer(upstream)
	codes := make(chan int, maxInFlight+10)
	var asking sync.WaitGroup
	for range maxInFlight + 10 {
		asking.Go(func() {
			reply, _ := ask(t, s, query("a.example.", 0))
			codes <- reply.Rcode
		})
	}
	for range 10 {
		if code := <-codes; code != mdns.RcodeServerFailure {
			t.Errorf("one too many got %s", mdns.RcodeToString[code])
		}
	}
	close(release)
	asking.Wait()
	close(codes)
	for code := range codes {
		if code != mdns.RcodeSuccess {
			t.Errorf("one of the others got %s", mdns.RcodeToString[code])
		}
	}
}

func TestMalformed(t *testing.T) {
	header := []byte{0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0}
	response := append([]byte(nil), header...)
	response[2] |= 0x80
	for _, tc := range []struct {
		name  string
		query []byte
		want  []byte
	}{
		{"empty", nil, nil},
		{"half a header", header[:6], nil},
		{"no question after the header", header, []byte{0x12, 0x34, 0x81, mdns.RcodeFormatError, 0, 0, 0, 0, 0, 0, 0, 0}},
		{"an answer", response, nil},
		{"garbage", bytes.Repeat([]byte{0xff}, 100), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, newServer().Answer(t.Context(), tc.query)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestServeConn(t *testing.T) {
	s := newServer(newResolver(t, answerA(100)))
	client, server := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.ServeConn(t.Context(), server)
	}()
	conn := &mdns.Conn{Conn: client}
	for range 3 {
		q := query("a.example.", 0)
		if err := conn.WriteMsg(q); err != nil {
			t.Fatal(err)
		}
		reply, err := conn.ReadMsg()
		if err != nil || reply.Id != q.Id || len(reply.Answer) != 100 || reply.Truncated {
			t.Fatalf("got %v, %v", reply, err)
		}
	}
	_ = client.Close()
	<-done
}

func TestServeConnEndsWithContext(t *testing.T) {
	client, server := net.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		newServer().ServeConn(ctx, server)
	}()
	if _, err := client.Write(binary.BigEndian.AppendUint16(nil, 100)); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-done
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the end of the stream", err)
	}
}

func TestServeConnIsBounded(t *testing.T) {
	s := newServer()
	var serving sync.WaitGroup
	defer serving.Wait() // after all clients have gone
	for range maxStreams {
		client, server := net.Pipe()
		defer func() { _ = client.Close() }()
		serving.Go(func() { s.ServeConn(t.Context(), server) })
		if _, err := client.Write([]byte{0}); err != nil { // it is being served
			t.Fatal(err)
		}
	}
	client, server := net.Pipe()
	s.ServeConn(t.Context(), server)
	if _, err := client.Write([]byte{0}); err == nil {
		t.Error("one too many was served")
	}
}

func TestResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	conf := NewResolvConf(path)
	write := func(text string, age time.Duration) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-age)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(strings.Join(want, " "), strings.Join(conf.Servers(), " ")); diff != "" {
			t.Error(diff)
		}
	}
	expect()
	write("# none yet\n", time.Hour)
	expect()
	write("nameserver 192.0.2.1\nnameserver 2001:db8::1\noptions rotate\n", time.Minute)
	expect("192.0.2.1:53", "[2001:db8::1]:53")
	write("nameserver 192.0.2.9\nnameserver 2001:db8::9\noptions rotate\n", time.Second) // of the same size
	expect("192.0.2.9:53", "[2001:db8::9]:53")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect()
}
