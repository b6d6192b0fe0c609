package agent

import (
	"log/slog"
	"os"
	"strings"
	"sync"
)

const oomFile = "/proc/self/oom_score_adj"

// oomGuard keeps children from inheriting the agent's protection from the OOM killer. Nothing can be done in a child
// between fork and exec, and afterwards it may have children of its own already; so the agent itself goes without
// protection for the moments in which it forks.
type oomGuard struct {
	log *slog.Logger

	mu        sync.Mutex
	starting  int    // children being started
	protected string // the agent's own value; empty when there is nothing to guard
}

func newOOMGuard(log *slog.Logger) *oomGuard {
	g := &oomGuard{log: log}
	if b, err := os.ReadFile(oomFile); err == nil {
		if v := strings.TrimSpace(string(b)); v != "0" {
			g.protected = v
		}
	}
	return g
}

// start calls f, which starts a child.
func (g *oomGuard) start(f func() error) error {
	if g.protected == "" {
		return f()
	}
	g.count(1)
	defer g.count(-1)
	return f()
}

// count notes that one start more, or less, is under way.
func (g *oomGuard) count(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	idle := g.starting == 0
	g.starting += n
	value := "0"
	switch {
	case g.starting == 0:
		value = g.protected
	case !idle:
		return
	}
	if err := os.WriteFile(oomFile, []byte(value), 0); err != nil {
		g.log.Warn("set oom_score_adj", "value", value, "error", err)
	}
}
