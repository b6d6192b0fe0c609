package dns

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	mdns "github.com/miekg/dns"
)

const (
	// tryTimeout is how long one resolver may take before the next one is asked.
	tryTimeout = 2 * time.Second
	// rounds is how often the whole list is tried: a datagram may have been lost.
	rounds = 2
	// upstreamSize is the size of the answers that fit most paths whole (dnsflagday.net/2020).
	upstreamSize = 1232
)

var errNoResolvers = errors.New("the host has no name servers")

// upstream asks the host's resolvers.
type upstream struct {
	resolvers func() []string
	last      atomic.Pointer[string] // the one that answered last; it is asked first, so that a dead one costs once
}

// ask returns the first useful answer. An answer that only says that the resolver could not is the last resort.
func (u *upstream) ask(ctx context.Context, query *mdns.Msg) (*mdns.Msg, error) {
	servers := u.order()
	if len(servers) == 0 {
		return nil, errNoResolvers
	}
	outgoing := prepare(query)
	var poor *mdns.Msg
	var failures []error
	for range rounds {
		for _, server := range servers {
			reply, err := exchange(ctx, outgoing, server)
			if err == nil && useful(reply) {
				u.last.Store(&server)
				return reply, nil
			}
			if err == nil {
				poor = reply
				continue
			}
			failures = append(failures, fmt.Errorf("%s: %w", server, err))
			if ctx.Err() != nil {
				return nil, errors.Join(failures...)
			}
		}
		if poor != nil { // somebody is there: asking again would not help
			return poor, nil
		}
	}
	return nil, errors.Join(failures...)
}

func (u *upstream) order() []string {
	servers := u.resolvers()
	last := u.last.Load()
	if last == nil {
		return servers
	}
	for i, server := range servers {
		if server == *last && i > 0 {
			ordered := append([]string{server}, servers[:i]...)
			return append(ordered, servers[i+1:]...)
		}
	}
	return servers
}

func useful(reply *mdns.Msg) bool {
	return reply.Rcode != mdns.RcodeServerFailure && reply.Rcode != mdns.RcodeRefused
}

// prepare makes the query that goes out: the guest's question and flags, an identifier that the guest does not know,
// and EDNS0 of our own.
func prepare(query *mdns.Msg) *mdns.Msg {
	out := new(mdns.Msg)
	out.Id = mdns.Id()
	out.RecursionDesired = query.RecursionDesired
	out.CheckingDisabled = query.CheckingDisabled
	out.AuthenticatedData = query.AuthenticatedData
	out.Question = query.Question
	asked := query.IsEdns0()
	out.SetEdns0(upstreamSize, asked != nil && asked.Do())
	return out
}

// exchange asks one server, over TCP if the answer does not fit a datagram.
func exchange(ctx context.Context, query *mdns.Msg, server string) (*mdns.Msg, error) {
	reply, err := exchangeOver(ctx, "udp", query, server)
	if err == nil && reply.Truncated {
		return exchangeOver(ctx, "tcp", query, server)
	}
	return reply, err
}

func exchangeOver(ctx context.Context, network string, query *mdns.Msg, server string) (*mdns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	client := &mdns.Client{Net: network, Timeout: tryTimeout}
	reply, _, err := client.ExchangeContext(ctx, query, server)
	if err != nil {
		return nil, err
	}
	if !sameQuestion(reply, query) {
		return nil, errors.New("the answer is to another question")
	}
	return reply, nil
}

// sameQuestion also takes an answer without a question, which some servers give with an error.
func sameQuestion(reply, query *mdns.Msg) bool {
	if len(reply.Question) == 0 {
		return reply.Rcode != mdns.RcodeSuccess
	}
	got, want := reply.Question[0], query.Question[0]
	return len(reply.Question) == 1 && got.Qtype == want.Qtype && got.Qclass == want.Qclass &&
		strings.EqualFold(got.Name, want.Name)
}
