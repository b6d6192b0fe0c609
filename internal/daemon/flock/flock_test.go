package flock

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
)

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := Try(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Try(path); !errors.Is(err, errdefs.ErrInUse) {
		t.Fatalf("second Try: %v, want in use", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := Wait(short, path); !errors.Is(err, errdefs.ErrTimeout) {
		t.Fatalf("Wait with a deadline: %v, want timed out", err)
	}
	waited := make(chan error, 1)
	go func() {
		l, err := Wait(t.Context(), path)
		if err == nil {
			err = l.Release()
		}
		waited <- err
	}()
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-waited:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the lock was released and not taken")
	}
}
