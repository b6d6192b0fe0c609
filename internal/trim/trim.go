// Package trim gives memory back to the host when a long-lived process falls idle. Daemon and shims live for months and
// mostly wait; the runtime by itself would keep what a burst of requests has used for minutes.
package trim

import (
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// after is how long a process has to be idle.
const after = 3 * time.Second

// Trimmer counts what is going on. Its zero value is ready for use; it does nothing before the first count.
type Trimmer struct {
	mu     sync.Mutex
	active int
	timer  *time.Timer // set while idle
	ended  bool
}

// During counts each request through h as activity.
func (t *Trimmer) During(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Add(1)
		defer t.Add(-1)
		h.ServeHTTP(w, r)
	})
}

// Add counts n more activities, or fewer; 0 says that something has just ended that was not counted.
func (t *Trimmer) Add(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	if t.active += n; t.active == 0 && !t.ended {
		t.timer = time.AfterFunc(after, debug.FreeOSMemory)
	}
}

// End stops it.
func (t *Trimmer) End() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	if t.timer != nil {
		t.timer.Stop()
	}
}
