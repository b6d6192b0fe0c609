package child

import (
	"bytes"
	"strings"
	"sync"
)

// Ring keeps the last bytes that were written to it.
type Ring struct {
	mu   sync.Mutex
	keep int
	data []byte
}

// NewRing returns a ring that keeps that many bytes.
func NewRing(keep int) *Ring { return &Ring{keep: keep} }

// Write never fails.
func (r *Ring) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(p)
	if len(p) > r.keep {
		p = p[len(p)-r.keep:]
	}
	r.data = append(r.data, p...)
	if len(r.data) > 2*r.keep { // compacted rarely, so that a byte is copied once on average
		r.data = append(r.data[:0], r.data[len(r.data)-r.keep:]...)
	}
	return n, nil
}

// Bytes returns a copy of what is kept.
func (r *Ring) Bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.data[max(0, len(r.data)-r.keep):])
}

// LastLines returns what is kept as at most n lines joined by "; ", without empty ones.
func (r *Ring) LastLines(n int) string {
	var lines []string
	for line := range strings.Lines(string(r.Bytes())) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}
