package flatten

import (
	"fmt"
	"io"
	"math"

	"github.com/banger-dev/banger/internal/errdefs"
)

// Limits bound what an archive may ask for. Zero fields mean the defaults.
type Limits struct {
	Entries int   // of all layers, and files at one time; each costs a few hundred bytes of memory; default 2 Mi
	Bytes   int64 // of file content, holes included; default 128 GiB
}

const (
	defaultEntries = 2 << 20
	defaultBytes   = 128 << 30
	maxPath        = 4096 // bytes, as the kernel's PATH_MAX
	maxPadding     = 1 << 20
	maxWarnings    = 100
)

func (l Limits) orDefault() Limits {
	if l.Entries <= 0 {
		l.Entries = defaultEntries
	}
	if l.Bytes <= 0 {
		l.Bytes = defaultBytes
	}
	return l
}

// inodes returns how many files the root file system may have. Parents that an archive leaves out count as well: one
// long name can make thousands of them.
func inodes(l Limits) uint32 {
	const always = 64 // of every file system, and /root
	return uint32(min(l.Entries, math.MaxUint32-always)) + always
}

// drain reads what follows the end of an archive, so that whoever writes it can finish.
func drain(r io.Reader) error {
	n, err := io.Copy(io.Discard, io.LimitReader(r, maxPadding))
	if err != nil {
		return fmt.Errorf("read archive after its end: %w", err)
	}
	if n == maxPadding {
		return errdefs.New(errdefs.ErrInvalid, "more than %d bytes follow the archive's end", maxPadding)
	}
	return nil
}

// warnings collects different sentences, but not without bound.
type warnings struct {
	texts   []string
	known   map[string]bool
	omitted int
}

func (w *warnings) add(text string) {
	if w.known[text] {
		return
	}
	if len(w.texts) >= maxWarnings {
		w.omitted++
		return
	}
	if w.known == nil {
		w.known = make(map[string]bool)
	}
	w.known[text] = true
	w.texts = append(w.texts, text)
}

func (w *warnings) list() []string {
	if w.omitted == 0 {
		return w.texts
	}
	return append(w.texts, fmt.Sprintf("%d more warnings", w.omitted))
}
