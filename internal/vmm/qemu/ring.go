package qemu

import (
	"bytes"
	"strings"
	"sync"
)

// ring keeps the last bytes that were written to it.
type ring struct {
	mu   sync.Mutex
	keep int
	data []byte
}

func newRing(keep int) *ring { return &ring{keep: keep} }

// Write never fails.
func (r *ring) Write(p []byte) (int, error) {
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
func (r *ring) Bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.data[max(0, len(r.data)-r.keep):])
}

// lastLines returns what is kept as at most n lines joined by "; ", without empty ones.
func (r *ring) lastLines(n int) string {
	var lines []string
	for line := range strings.Lines(string(r.Bytes())) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}
