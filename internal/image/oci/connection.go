package oci

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
)

// poolKey is what connections cannot be shared across.
type poolKey struct {
	insecure bool
	roots    string // PEM, besides the system's
}

// pool returns the connections for requests with these options.
func (p *Puller) pool(insecure bool, caFile string) (*http.Transport, error) {
	k := poolKey{insecure: insecure}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, errdefs.New(errdefs.ErrInvalid, "CA file: %w", err)
		}
		k.roots = string(pem)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.pools[k]; t != nil {
		return t, nil
	}
	config, err := k.tlsConfig()
	if err != nil {
		return nil, fmt.Errorf("CA file %s: %w", caFile, err)
	}
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 20 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:       config,
		TLSHandshakeTimeout:   20 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		IdleConnTimeout:       30 * time.Second,
		MaxIdleConnsPerHost:   8,
		DisableCompression:    true, // blobs are what they are
		ForceAttemptHTTP2:     true,
	}
	p.pools[k] = t
	return t, nil
}

func (k poolKey) tlsConfig() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: k.insecure} //nolint:gosec // the user asked for it
	if k.roots == "" {
		return c, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a host without any; the file is enough
	}
	if !roots.AppendCertsFromPEM([]byte(k.roots)) {
		return nil, errdefs.New(errdefs.ErrInvalid, "it has no certificate in PEM form")
	}
	c.RootCAs = roots
	return c, nil
}

// plainGuard lets nothing out unencrypted, unless the user allowed it or it stays on this machine. Without it, an address
// of a private range would be tried over plain HTTP, credentials and all, and so would what a registry redirects to.
type plainGuard struct {
	inner    http.RoundTripper
	insecure bool
	registry string // host[:port]
}

func (g *plainGuard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" && !g.insecure && (!isLoopback(r.URL.Host) || !isLoopback(g.registry)) {
		return nil, errdefs.WithHint(
			errdefs.New(errdefs.ErrUnavailable, "%s is not asked over plain HTTP", r.URL.Host),
			"--insecure allows it")
	}
	return g.inner.RoundTrip(r)
}

// isLoopback tells whether host[:port] cannot be another machine.
func isLoopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

func isCertificate(err error) bool {
	var unknown x509.UnknownAuthorityError
	var verification *tls.CertificateVerificationError
	return errors.As(err, &unknown) || errors.As(err, &verification)
}
