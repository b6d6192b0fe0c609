package catalog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/version"
)

const (
	connect       = 10 * time.Second
	firstByte     = 30 * time.Second
	wholeDocument = time.Minute
	idle          = time.Minute
	maxRedirects  = 5
	maxAttempts   = 5
	longestPause  = 30 * time.Second
)

func newClient(t http.RoundTripper) *http.Client {
	if t == nil {
		t = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: connect}).DialContext,
			TLSHandshakeTimeout:   connect,
			ResponseHeaderTimeout: firstByte,
			DisableKeepAlives:     true, // there is one request now and then
			DisableCompression:    true, // bundles are compressed
			ForceAttemptHTTP2:     true,
		}
	}
	return &http.Client{Transport: t, CheckRedirect: checkRedirect}
}

// checkRedirect follows a few redirections, but not from a protected connection to an open one.
func checkRedirect(next *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirections", maxRedirects)
	}
	if via[len(via)-1].URL.Scheme == "https" && next.URL.Scheme != "https" {
		return errdefs.New(errdefs.ErrInvalid, "redirection from https to http")
	}
	return nil
}

// request asks for a URL until the answer has one of the wanted statuses. It asks again, after a pause, while the network
// or the server fails for a moment, so many times at most. The caller closes the body.
func (c *Catalog) request(
	ctx context.Context, address string, header http.Header, attempts int, want ...int,
) (*http.Response, error) {
	for attempt := 0; ; attempt++ {
		resp, err := c.once(ctx, address, header)
		if err == nil && slices.Contains(want, resp.StatusCode) {
			return resp, nil
		}
		wait := c.pause(attempt)
		if err == nil {
			_ = resp.Body.Close() // what it holds is not read
			wait = max(wait, retryAfter(resp))
			err = statusError(resp)
			if !passing(resp.StatusCode) {
				return nil, err
			}
		}
		if ctx.Err() != nil {
			return nil, given(ctx, address)
		}
		if attempt+1 >= attempts || hopeless(err) {
			return nil, err
		}
		c.o.Log.Info("asking again", "error", err, "pause", wait)
		if err := sleep(ctx, wait); err != nil {
			return nil, given(ctx, address)
		}
	}
}

func (c *Catalog) once(ctx context.Context, address string, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, errdefs.As(errdefs.ErrInvalid, err)
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("User-Agent", "banger/"+version.Version)
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, errdefs.As(errdefs.ErrUnavailable, err) // it names the URL, without a password
	}
	return resp, nil
}

// given says that ctx ended before there was an answer.
func given(ctx context.Context, address string) error {
	err := fmt.Errorf("get %s: %w", redacted(address), context.Cause(ctx))
	if errors.Is(err, context.DeadlineExceeded) {
		return errdefs.As(errdefs.ErrUnavailable, err)
	}
	return err
}

func statusError(resp *http.Response) error {
	return errdefs.New(errdefs.ErrUnavailable, "get %s: the server answers %s", resp.Request.URL.Redacted(), resp.Status)
}

func redacted(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "a bad URL"
	}
	return u.Redacted()
}

// hopeless reports whether asking again cannot help.
func hopeless(err error) bool {
	certificate := (*tls.CertificateVerificationError)(nil)
	return errors.Is(err, errdefs.ErrInvalid) || errors.As(err, &certificate)
}

// passing reports whether a status may be another one soon.
func passing(status int) bool {
	return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}

// retryAfter returns how long the server wants to be left alone, as far as that is bearable.
func retryAfter(resp *http.Response) time.Duration {
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(min(seconds, 3600))*time.Second, longestPause)
}

// backoff is half a second, then twice as long each time.
func backoff(attempt int) time.Duration {
	return min(500*time.Millisecond<<min(attempt, 16), longestPause)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
