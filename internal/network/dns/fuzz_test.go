package dns

import (
	"log/slog"
	"testing"

	mdns "github.com/miekg/dns"
)

// FuzzDNS feeds a server what a guest might send. Whatever it answers must be an answer that can be read, to that
// query, of a size that the guest can take.
func FuzzDNS(f *testing.F) {
	for _, q := range []*mdns.Msg{query("a.example.", 0), query("a.example.", 4096), new(mdns.Msg).SetAxfr(".")} {
		raw, err := q.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	s := New(Config{Resolvers: func() []string { return nil }, Log: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(t *testing.T, raw []byte) {
		answer := s.Answer(t.Context(), raw)
		if answer == nil {
			return
		}
		if len(answer) > maxDatagram {
			t.Fatalf("%d bytes", len(answer))
		}
		reply := new(mdns.Msg)
		if err := reply.Unpack(answer); err != nil {
			t.Fatalf("answer cannot be read: %v", err)
		}
		if !reply.Response || answer[0] != raw[0] || answer[1] != raw[1] {
			t.Fatalf("not an answer to the query: %s", reply)
		}
	})
}
