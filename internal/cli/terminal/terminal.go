// Package terminal handles the user's terminal: raw mode with restore, size and its changes, input that can be given up,
// and whether colour is wanted.
package terminal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Is tells whether f is a terminal.
func Is(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Foreground tells whether this process may read from the terminal f without being stopped for it.
func Foreground(f *os.File) bool {
	group, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// Size returns the terminal's rows and columns.
func Size(f *os.File) (rows, cols uint16, ok bool) {
	w, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || w.Row == 0 || w.Col == 0 {
		return 0, 0, false
	}
	return w.Row, w.Col, true
}

// Raw is a terminal in raw mode: every key reaches the reader as bytes.
type Raw struct {
	file   *os.File
	before *term.State
	once   sync.Once
}

// MakeRaw puts the terminal f into raw mode until Restore.
func MakeRaw(f *os.File) (*Raw, error) {
	before, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, fmt.Errorf("make the terminal raw: %w", err)
	}
	return &Raw{file: f, before: before}, nil
}

// Again puts the terminal into raw mode once more, after a shell has reset it while we were stopped.
func (r *Raw) Again() { _, _ = term.MakeRaw(int(r.file.Fd())) } // a terminal that is gone shows on the next read

// Restore puts the terminal back as it was. It may be called often and from several goroutines.
func (r *Raw) Restore() {
	r.once.Do(func() { _ = term.Restore(int(r.file.Fd()), r.before) }) // there is nowhere to report to
}

// Watch calls changed, from one goroutine, after the terminal's size may have changed and after the process was
// stopped and continued. stop waits for that goroutine's end.
func Watch(changed func(continued bool)) (stop func()) {
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, unix.SIGWINCH, unix.SIGCONT)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case s := <-caught:
				changed(s == unix.SIGCONT)
			case <-quit:
				return
			}
		}
	}()
	return func() {
		signal.Stop(caught)
		close(quit)
		<-done
	}
}

// Input reads from a file until its context ends, and takes nothing from the file after that: what a user types ahead
// belongs to whoever reads the terminal next.
type Input struct {
	file *os.File
	wake *os.File // readable once the context has ended
	stop func() bool
	end  *os.File
}

// NewInput returns an Input on f. Close it when it is no longer read.
func NewInput(ctx context.Context, f *os.File) (*Input, error) {
	wake, end, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("prepare standard input: %w", err)
	}
	in := &Input{file: f, wake: wake, end: end}
	in.stop = context.AfterFunc(ctx, func() { _ = end.Close() })
	return in, nil
}

// Read reads what there is, or returns os.ErrClosed after the context's end.
func (in *Input) Read(p []byte) (int, error) {
	for {
		fds := []unix.PollFd{{Fd: int32(in.file.Fd()), Events: unix.POLLIN}, {Fd: int32(in.wake.Fd()), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return 0, fmt.Errorf("wait for standard input: %w", err)
		}
		if fds[1].Revents != 0 {
			return 0, os.ErrClosed
		}
		if fds[0].Revents != 0 {
			return in.file.Read(p)
		}
	}
}

// Close frees what NewInput made; the file stays open. No Read may be running, or the context must have ended.
func (in *Input) Close() error {
	if in.stop() {
		_ = in.end.Close()
	}
	return nil
}
