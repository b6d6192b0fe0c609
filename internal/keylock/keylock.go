// Package keylock is a set of locks by key, whose waiters can give up.
package keylock

import (
	"context"
	"sync"
)

// Locks holds a lock for each key in use. The zero value is ready. Memory is held only for keys that are locked or
// waited for.
type Locks struct {
	mu   sync.Mutex
	keys map[string]*lock
}

type lock struct {
	token chan struct{} // full: held
	users int           // the holder and the waiters, guarded by Locks.mu
}

// Lock waits until it holds key's lock and returns what releases it, which may be called more than once.
// It gives up with ctx's error when ctx ends first.
func (l *Locks) Lock(ctx context.Context, key string) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	k := l.join(key)
	select {
	case k.token <- struct{}{}:
		return sync.OnceFunc(func() {
			<-k.token
			l.leave(key, k)
		}), nil
	case <-ctx.Done():
		l.leave(key, k)
		return nil, context.Cause(ctx)
	}
}

func (l *Locks) join(key string) *lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.keys[key]
	if k == nil {
		if l.keys == nil {
			l.keys = make(map[string]*lock)
		}
		k = &lock{token: make(chan struct{}, 1)}
		l.keys[key] = k
	}
	k.users++
	return k
}

func (l *Locks) leave(key string, k *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.users--; k.users == 0 {
		delete(l.keys, key)
	}
}
