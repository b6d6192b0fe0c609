// Package console takes what one guest writes to its console: into the log, a short memory and to those who follow it.
package console

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"

	"github.com/banger-dev/banger/internal/shim/logfile"
)

const (
	logSize     = 8 << 20   // bytes of one generation of the log
	memorySize  = 64 << 10  // bytes of this run that are remembered, for the report of its end
	pendingSize = 256 << 10 // bytes that a follower may be behind
)

// Console is the console of one run of a machine. Its methods may be called from several goroutines.
type Console struct {
	path string
	log  *slog.Logger

	mu        sync.Mutex
	file      *logfile.File
	broken    bool // the log cannot be written; said once
	memory    []byte
	followers map[*follower]struct{}
	ended     bool
}

// Open opens the console whose log is at path. It goes on where the last run of the machine ended.
func Open(path string, log *slog.Logger) (*Console, error) {
	file, err := logfile.Open(path, logSize, nil)
	if err != nil {
		return nil, err
	}
	return &Console{path: path, log: log, file: file, followers: make(map[*follower]struct{})}, nil
}

// Write takes what the guest wrote. It never fails and never waits for a follower: a console that is not read would
// stop the guest.
func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.file.Write(p); err != nil && !c.broken {
		c.broken = true
		c.log.Warn("console log is incomplete", "error", err)
	}
	c.memory = append(c.memory, p...)
	if over := len(c.memory) - memorySize; over > 0 {
		c.memory = append(c.memory[:0], c.memory[over:]...)
	}
	for f := range c.followers {
		f.add(p)
	}
	return len(p), nil
}

// End closes the log and lets the followers finish.
func (c *Console) End() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for f := range c.followers {
		f.signal()
	}
	return c.file.Close()
}

// Lines returns at most the last n lines of this run, without line ends and control bytes. Those of a kernel that gave
// up end with its saying so.
func (c *Console) Lines(n int) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Lines(lastWords(c.memory), n)
}

// Panic returns what the kernel said last about why it gave up, "" when it did not in this run.
func (c *Console) Panic() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Panic(c.memory)
}

// Copy writes the last lines lines of the log to w, all of them when lines is negative. With follow it goes on with
// what the guest writes, until the machine or ctx ends, or w fails or is so slow that it is left behind.
func (c *Console) Copy(ctx context.Context, w io.Writer, lines int, follow bool) error {
	// Under one lock, so that the follower begins with the very byte after the files'.
	c.mu.Lock()
	files, err := logfile.Generations(c.path)
	if err != nil {
		c.mu.Unlock()
		return err
	}
	defer files.Close()
	var f *follower
	if follow {
		f = &follower{wake: make(chan struct{}, 1)}
		c.followers[f] = struct{}{}
		defer c.forget(f)
	}
	c.mu.Unlock()
	if err := files.Copy(w, lines); err != nil || f == nil {
		return err
	}
	return c.follow(ctx, w, f)
}

func (c *Console) forget(f *follower) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.followers, f)
}

// ErrLeftBehind ends a follower that was too slow.
var ErrLeftBehind = errors.New("follow console: the reader was too slow; the log has the rest")

func (c *Console) follow(ctx context.Context, w io.Writer, f *follower) error {
	for {
		c.mu.Lock()
		text, dropped, ended := f.pending, f.dropped, c.ended
		f.pending = nil
		c.mu.Unlock()
		if len(text) > 0 {
			if _, err := w.Write(text); err != nil {
				return err
			}
			continue
		}
		switch {
		case dropped:
			_, err := io.WriteString(w, "\n[banger: output was left out, the reader was too slow]\n")
			return errors.Join(ErrLeftBehind, err)
		case ended:
			return nil
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// follower is one reader of what comes. All but wake is guarded by Console.mu.
type follower struct {
	wake    chan struct{}
	pending []byte
	dropped bool
}

func (f *follower) add(p []byte) {
	if f.dropped || len(f.pending)+len(p) > pendingSize {
		f.dropped = true
	} else {
		f.pending = append(f.pending, p...)
	}
	f.signal()
}

func (f *follower) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}
