package wire

import (
	"context"
	"sync"
)

// credit counts the bytes that may still be sent.
type credit struct {
	mu    sync.Mutex
	n     int
	added chan struct{} // holds one token when n grew
}

func newCredit(n int) *credit { return &credit{n: n, added: make(chan struct{}, 1)} }

func (c *credit) add(n int) {
	c.mu.Lock()
	c.n += n
	c.mu.Unlock()
	select {
	case c.added <- struct{}{}:
	default:
	}
}

// take waits until something may be sent and takes up to limit of it. Only one goroutine may take.
func (c *credit) take(ctx context.Context, limit int) (int, error) {
	for {
		c.mu.Lock()
		n := min(c.n, limit)
		c.n -= n
		c.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-c.added:
		}
	}
}
