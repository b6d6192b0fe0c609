package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
)

// Open returns the bundle of an entry as it arrives. A connection that is cut or silent is made again, and the bundle goes
// on where it was. What is read must be checked against e.SHA256, as package bundle does. ctx ends the reading.
func (c *Catalog) Open(ctx context.Context, e Entry) (io.ReadCloser, error) {
	u, err := url.Parse(e.URL)
	if err == nil {
		err = checkURL(u)
	}
	if err != nil {
		return nil, fmt.Errorf("fetch bundle: %w", err)
	}
	if u.Scheme == "file" {
		f, err := openRegular(u.Path)
		if err != nil {
			return nil, fmt.Errorf("fetch bundle: %w", err)
		}
		return f, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	d := &download{c: c, ctx: ctx, cancel: cancel, url: e.URL, size: e.Size}
	if err := d.connect(ctx); err != nil {
		_ = d.Close() // err says more
		return nil, fmt.Errorf("fetch bundle: %w", err)
	}
	return d, nil
}

// download is a bundle that arrives over HTTP.
type download struct {
	c      *Catalog
	ctx    context.Context //nolint:containedctx // that of Open, which ends the reading
	cancel context.CancelCauseFunc
	url    string
	size   int64  // 0: not known
	etag   string // of what was read so far
	off    int64
	body   io.ReadCloser
	failed int // connections in a row that brought nothing
}

var errSilent = errors.New("the server sends nothing")

func (d *download) Read(p []byte) (int, error) {
	for {
		if d.body == nil {
			if err := d.connect(d.ctx); err != nil {
				return 0, fmt.Errorf("fetch bundle: %w", err)
			}
		}
		n, err := d.body.Read(p)
		d.off += int64(n)
		if n > 0 {
			d.failed = 0
		}
		switch {
		case d.size > 0 && d.off > d.size:
			return 0, errdefs.New(errdefs.ErrInvalid, "fetch bundle: it has more than the %d bytes that the catalog says", d.size)
		case err == nil, n > 0 && !errors.Is(err, io.EOF):
			if err != nil {
				d.disconnect()
			}
			return n, nil
		case errors.Is(err, io.EOF) && d.off < d.size:
			return n, errdefs.New(errdefs.ErrInvalid, "fetch bundle: it has %d bytes, the catalog says %d", d.off, d.size)
		case errors.Is(err, io.EOF):
			return n, io.EOF
		case d.ctx.Err() != nil:
			return 0, fmt.Errorf("fetch bundle: %w", context.Cause(d.ctx))
		}
		d.disconnect()
		if d.failed++; d.failed >= maxAttempts {
			return 0, fmt.Errorf("fetch bundle: get %s: %w", redacted(d.url), unavailable(err))
		}
		d.c.o.Log.Info("fetching the rest of a bundle", "url", redacted(d.url), "from", d.off, "error", err)
		if err := sleep(d.ctx, d.c.pause(d.failed-1)); err != nil {
			return 0, fmt.Errorf("fetch bundle: %w", context.Cause(d.ctx))
		}
	}
}

// connect asks for what is left.
func (d *download) connect(ctx context.Context) error {
	header := http.Header{}
	if d.off > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", d.off))
		if d.etag != "" {
			header.Set("If-Range", d.etag)
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	resp, err := d.c.request(ctx, d.url, header, maxAttempts, http.StatusOK, http.StatusPartialContent) //nolint:bodyclose // watched does
	if err != nil {
		cancel(nil)
		return err
	}
	body := &watched{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, idle: d.c.idle}
	if err := d.accept(resp, body); err != nil {
		return errors.Join(err, body.Close())
	}
	d.body = body
	return nil
}

// accept makes sure that the answer goes on where the last one ended.
func (d *download) accept(resp *http.Response, body io.Reader) error {
	etag := resp.Header.Get("ETag")
	strong := etag != "" && !strings.HasPrefix(etag, "W/") // If-Range takes no other
	switch {
	case d.off == 0 && resp.StatusCode == http.StatusOK:
		if d.size > 0 && resp.ContentLength >= 0 && resp.ContentLength != d.size {
			return errdefs.New(errdefs.ErrInvalid, "get %s: it has %d bytes, the catalog says %d",
				redacted(d.url), resp.ContentLength, d.size)
		}
		if strong {
			d.etag = etag
		}
		return nil
	case resp.StatusCode == http.StatusOK: // all of it again
		if strong && d.etag != "" && etag != d.etag {
			return errdefs.New(errdefs.ErrUnavailable, "get %s: it changed while it was fetched", redacted(d.url))
		}
		if _, err := io.CopyN(io.Discard, body, d.off); err != nil {
			return unavailable(err)
		}
		return nil
	}
	if from := fmt.Sprintf("bytes %d-", d.off); !strings.HasPrefix(resp.Header.Get("Content-Range"), from) {
		return errdefs.New(errdefs.ErrUnavailable, "get %s: the server sends another part than it was asked for", redacted(d.url))
	}
	return nil
}

func (d *download) disconnect() {
	if d.body != nil {
		_ = d.body.Close() // nothing more is read from it
		d.body = nil
	}
}

// Close ends the connection.
func (d *download) Close() error {
	d.disconnect()
	d.cancel(nil)
	return nil
}

// watched is a body whose reading fails when nothing arrives for some time.
type watched struct {
	io.ReadCloser
	ctx    context.Context //nolint:containedctx // of its request
	cancel context.CancelCauseFunc
	idle   time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	t := time.AfterFunc(w.idle, func() { w.cancel(errSilent) })
	n, err := w.ReadCloser.Read(p)
	t.Stop()
	if err != nil && errors.Is(context.Cause(w.ctx), errSilent) {
		err = errSilent
	}
	return n, err
}

func (w *watched) Close() error {
	err := w.ReadCloser.Close()
	w.cancel(nil)
	return err
}
