package oci

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
)

// retryPolicy says how often and when something is tried again.
type retryPolicy struct {
	attempts int           // in all
	base     time.Duration // of the first pause; each next one is twice as long
	longest  time.Duration // of one pause that is our choice
	patience time.Duration // longest pause that a server may ask for
	stall    time.Duration // a body that gives nothing for so long is cut
	pause    func(ctx context.Context, d time.Duration) error
}

var defaultRetry = retryPolicy{
	attempts: 5, base: 500 * time.Millisecond, longest: 15 * time.Second, patience: 2 * time.Minute, stall: time.Minute,
	pause: pause,
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// backoff is the pause after the nth failure, from 1. Half of it is random, so that many clients do not come back at once.
func (p retryPolicy) backoff(n int) time.Duration {
	d := min(p.base<<min(n-1, 16), p.longest)
	return d/2 + rand.N(d/2+1) //nolint:gosec // jitter needs no secrecy
}

// retryTransport sends requests without a body again when the network or the server fails for a moment. It works below
// authentication, so that a token server is retried too, and is done when the response header is there.
type retryTransport struct {
	inner  http.RoundTripper
	policy retryPolicy
}

func (t *retryTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		return t.inner.RoundTrip(r)
	}
	for n := 1; ; n++ {
		resp, err := t.inner.RoundTrip(r)
		if n >= t.policy.attempts || !transient(resp, err) || r.Context().Err() != nil {
			return resp, err
		}
		wait, err := t.wait(resp, n)
		if err != nil {
			return nil, err
		}
		if err := t.policy.pause(r.Context(), wait); err != nil {
			return nil, err
		}
	}
}

// wait says how long to wait, and closes resp, which may be nil.
func (t *retryTransport) wait(resp *http.Response, n int) (time.Duration, error) {
	d := t.policy.backoff(n)
	if resp == nil {
		return d, nil
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // a drained connection can be used again
	resp.Body.Close()
	asked := retryAfter(resp.Header, time.Now())
	if asked > t.policy.patience {
		return 0, errdefs.New(errdefs.ErrUnavailable, "%s answers %q and asks to wait %s", resp.Request.URL.Host, resp.Status, asked.Round(time.Second))
	}
	return max(d, asked), nil
}

// retryAfter reads RFC 9110, section 10.2.3: seconds or a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	s := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(s); err == nil {
		return time.Duration(min(max(seconds, 0), 1<<30)) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// transient tells whether trying again may help.
func transient(resp *http.Response, err error) bool {
	if err != nil {
		return transientNetwork(err)
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// transientNetwork leaves out what will be the same in a second: no such host, nothing that listens, a certificate.
func transientNetwork(err error) bool {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.IsTemporary && !dns.IsNotFound
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
