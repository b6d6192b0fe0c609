package keylock

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestExcludes(t *testing.T) {
	var l Locks
	var held [3]int // guarded by the lock of its index; the race detector watches
	var wg sync.WaitGroup
	for i := range 300 {
		wg.Go(func() {
			unlock, err := l.Lock(t.Context(), strconv.Itoa(i%3))
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			held[i%3]++
		})
	}
	wg.Wait()
	if held != [3]int{100, 100, 100} {
		t.Errorf("got %v", held)
	}
	if len(l.keys) != 0 {
		t.Errorf("%d locks are still remembered", len(l.keys))
	}
}

func TestOtherKeysDoNotWait(t *testing.T) {
	var l Locks
	unlockA, err := l.Lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer unlockA()
	unlockB, err := l.Lock(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	unlockB()
}

func TestWaiterGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Locks
		unlock, err := l.Lock(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Lock(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		unlock()
		unlock() // harmless
		again, err := l.Lock(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		again()
		if len(l.keys) != 0 {
			t.Errorf("%d locks are still remembered", len(l.keys))
		}
	})
}

func TestEndedContext(t *testing.T) {
	var l Locks
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	cancel(why)
	if _, err := l.Lock(ctx, "a"); !errors.Is(err, why) {
		t.Errorf("got %v, want the cause", err)
	}
}
