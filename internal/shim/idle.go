package shim

import (
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// idleTime is how long a shim has to be idle before it gives memory back.
const idleTime = 3 * time.Second

// trimmer gives what a burst of requests has used back to the host once it is over: a shim may live for months and
// mostly idles, and the runtime by itself would keep the memory for minutes.
type trimmer struct {
	mu     sync.Mutex
	active int
	timer  *time.Timer // set while idle
	ended  bool
}

// during counts a request through h as activity.
func (t *trimmer) during(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.add(1)
		defer t.add(-1)
		h.ServeHTTP(w, r)
	})
}

func (t *trimmer) add(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	if t.active += n; t.active == 0 && !t.ended {
		t.timer = time.AfterFunc(idleTime, debug.FreeOSMemory)
	}
}

func (t *trimmer) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	if t.timer != nil {
		t.timer.Stop()
	}
}
