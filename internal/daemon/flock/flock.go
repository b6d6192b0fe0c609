// Package flock takes whole-file locks (flock(2)) between processes. The kernel frees them when their holder dies.
package flock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/errdefs"
)

// Lock is held until Release.
type Lock struct{ file *os.File }

// Try takes the lock at path, making its file with mode 0600, or returns errdefs.ErrInUse naming the holder.
func Try(path string) (*Lock, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = errdefs.New(errdefs.ErrInUse, "held by process %s", holder(f))
	}
	return locked(f, err)
}

// Wait takes the lock at path as soon as it is free. When ctx ends first it returns errdefs.ErrTimeout naming the
// holder; a thread is then left waiting, so a caller that gives up should soon end its process.
func Wait(ctx context.Context, path string) (*Lock, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	result := make(chan error, 1)
	go func() { result <- retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX) }) }()
	select {
	case err := <-result:
		return locked(f, err)
	case <-ctx.Done():
		go func() {
			if <-result == nil {
				_ = f.Close() // frees it again
			}
		}()
		return nil, errdefs.New(errdefs.ErrTimeout, "lock %s: held by process %s: %w", path, holder(f), context.Cause(ctx))
	}
}

// Release frees the lock. Its file stays.
func (l *Lock) Release() error { return l.file.Close() }

func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	return f, nil
}

// locked notes who holds the lock. That is for messages only, so a failure to write it is not one to lock.
func locked(f *os.File, err error) (*Lock, error) {
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	return &Lock{file: f}, nil
}

func holder(f *os.File) string {
	buf := make([]byte, 16)
	n, _ := f.ReadAt(buf, 0)
	if pid := strings.TrimSpace(string(buf[:n])); pid != "" {
		return pid
	}
	return "unknown"
}

func retry(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
