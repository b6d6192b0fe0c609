package daemon

import "runtime/debug"

// The daemon is idle nearly always and must stay small then. Collecting more often costs it nothing that is felt; the
// limit is soft, and makes the runtime return what a long operation has used.
const (
	gcPercent   = 40
	memoryLimit = 64 << 20
)

func boundMemory() {
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(memoryLimit)
}
