package recipe

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/op"
)

const (
	maxLine  = 1024 // bytes kept of one
	maxLines = 20   // of the last ones are kept
	inError  = 4    // of these are in an error
)

// progress reads what mmdebstrap writes to its standard error: it turns what mmdebstrap is about into stages of the
// operation and keeps the last lines of the rest. Its memory is bounded.
type progress struct {
	ctx     context.Context //nolint:containedctx // for the stages, as long as one operation
	subject string

	mu    sync.Mutex
	line  []byte // not ended yet
	last  []string
	stage *op.Stage
}

func newProgress(ctx context.Context, subject string) *progress {
	return &progress{ctx: ctx, subject: subject}
}

// Write implements io.Writer. It never fails.
func (p *progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(b)
	for len(b) > 0 {
		end := bytes.IndexAny(b, "\r\n")
		part := b
		if end >= 0 {
			part = b[:end]
		}
		p.line = append(p.line, part[:min(len(part), maxLine-len(p.line))]...)
		if end < 0 {
			break
		}
		p.take(strings.TrimSpace(string(p.line)))
		p.line, b = p.line[:0], b[end+1:]
	}
	return n, nil
}

// take looks at one line. mmdebstrap marks its own: I: is about, W: a warning, E: an error.
func (p *progress) take(line string) {
	about, ok := strings.CutPrefix(line, "I: ")
	switch {
	case line == "" || line == "done":
		return
	case !ok:
		op.Log(p.ctx).Debug("mmdebstrap", "says", line)
		if p.last = append(p.last, line); len(p.last) > maxLines {
			p.last = p.last[1:]
		}
		return
	}
	if name := stageName(about); name != "" {
		if p.stage != nil {
			_ = p.stage.End(nil) // returns nil
		}
		p.stage = op.Begin(p.ctx, name, p.subject)
	}
}

// stageName is what users are told of what mmdebstrap is about; empty when that takes no time.
func stageName(about string) string {
	for _, s := range []struct{ prefix, name string }{
		{"running apt-get update", "read package lists"},
		{"downloading packages", "download packages"},
		{"downloading apt", "download packages"},
		{"extracting archives", "unpack essential packages"},
		{"installing essential", "install essential packages"},
		{"installing remaining", "install packages"},
		{"installing apt", "install packages"},
		{"running --customize-hook", "customize"},
		{"cleaning package lists", "clean up"},
		{"creating tarball", "pack"},
	} {
		if strings.HasPrefix(about, s.prefix) {
			return s.name
		}
	}
	return ""
}

// end ends the stage that is under way.
func (p *progress) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stage != nil {
		_ = p.stage.End(err) // returns err
		p.stage = nil
	}
}

// explain returns an error that says what mmdebstrap's last words were.
func (p *progress) explain(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if line := strings.TrimSpace(string(p.line)); line != "" {
		p.last = append(p.last, line)
	}
	words := strings.Join(p.last[max(0, len(p.last)-inError):], "; ")
	err = fmt.Errorf("%s: %w", mmdebstrap, err)
	if words != "" {
		err = fmt.Errorf("%w: %s", err, words)
	}
	switch {
	case strings.Contains(words, "No space left on device"):
		return errdefs.WithHint(errdefs.As(errdefs.ErrExhausted, err), "free some space on the disk of banger's state directory")
	case strings.Contains(words, "apt-get update"), strings.Contains(words, "Could not resolve"), strings.Contains(words, "Failed to fetch"):
		return errdefs.WithHint(errdefs.As(errdefs.ErrUnavailable, err), "check that apt update works on this host, or set debian_mirror")
	}
	return err
}
