package image

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
)

// gate makes a recipe wait once it is opened: arrived is sent to, then release is received from.
type gate struct{ arrived, release chan struct{} }

func newGate(r *tiny) *gate {
	g := &gate{make(chan struct{}), make(chan struct{})}
	r.open = func(ctx context.Context, _ string) error {
		for _, wait := range []func() bool{
			func() bool {
				select {
				case g.arrived <- struct{}{}:
					return true
				case <-ctx.Done():
					return false
				}
			},
			func() bool {
				select {
				case <-g.release:
					return true
				case <-ctx.Done():
					return false
				}
			},
		} {
			if !wait() {
				return context.Cause(ctx)
			}
		}
		return nil
	}
	return g
}

type result struct {
	image api.Image
	err   error
}

func (f *fixture) start(ctx context.Context, req api.ImageBuild) <-chan result {
	done := make(chan result, 1)
	go func() {
		i, err := f.Build(ctx, req)
		done <- result{i, err}
	}()
	return done
}

// waits returns what returns once n callers of Build have looked at the name and are about to wait for it.
func (f *fixture) waits(n int) func() {
	came := make(chan struct{}, 100)
	f.failpoint = func(step string) {
		if step == "wait" {
			came <- struct{}{}
		}
	}
	return func() {
		for range n {
			<-came
		}
	}
}

func TestOtherNamesDoNotWait(t *testing.T) {
	f := newFixture(t)
	a, b := newGate(f.a), newGate(f.b)
	first := f.start(t.Context(), api.ImageBuild{Recipe: "a"})
	second := f.start(t.Context(), api.ImageBuild{Recipe: "b"})
	third := f.start(t.Context(), api.ImageBuild{Recipe: "a", Name: "other"}) // one recipe, another name
	<-a.arrived
	<-a.arrived
	<-b.arrived // all three are being made now
	close(b.release)
	must(t, (<-second).err)
	close(a.release)
	must(t, (<-first).err, (<-third).err)
	f.consistent(t)
}

func TestSameNameIsMadeOnce(t *testing.T) {
	f := newFixture(t)
	g := newGate(f.a)
	allWait := f.waits(5)
	var results []<-chan result
	for i := range 5 {
		results = append(results, f.start(t.Context(), api.ImageBuild{Recipe: "a", Force: i%2 == 1}))
	}
	<-g.arrived
	allWait()
	close(g.release)
	var id string
	for _, r := range results {
		got := <-r
		must(t, got.err)
		if id == "" {
			id = got.image.ID
		}
		if got.image.ID != id {
			t.Errorf("ids %s and %s", id, got.image.ID)
		}
	}
	if n := f.a.opened.Load(); n != 1 {
		t.Errorf("made %d times", n)
	}
	f.consistent(t)
}

func TestWaiterOfAnotherRecipe(t *testing.T) {
	f := newFixture(t)
	bothWait := f.waits(2)
	g := newGate(f.a)
	first := f.start(t.Context(), api.ImageBuild{Recipe: "a", Name: "x"})
	<-g.arrived
	second := f.start(t.Context(), api.ImageBuild{Recipe: "b", Name: "x"})
	bothWait()
	close(g.release)
	must(t, (<-first).err)
	if err := (<-second).err; !errors.Is(err, errdefs.ErrExists) {
		t.Errorf("got %v", err)
	}
}

func TestWaiterGivesUp(t *testing.T) {
	f := newFixture(t)
	bothWait := f.waits(2)
	g := newGate(f.a)
	first := f.start(t.Context(), api.ImageBuild{Recipe: "a"})
	<-g.arrived
	ctx, cancel := context.WithCancel(t.Context())
	second := f.start(ctx, api.ImageBuild{Recipe: "a"})
	bothWait()
	cancel()
	if err := (<-second).err; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(g.release)
	must(t, (<-first).err)
	f.consistent(t)
}

func TestWaiterTakesOver(t *testing.T) {
	f := newFixture(t)
	bothWait := f.waits(2)
	g := newGate(f.a)
	ctx, cancel := context.WithCancel(t.Context())
	first := f.start(ctx, api.ImageBuild{Recipe: "a"})
	<-g.arrived
	second := f.start(t.Context(), api.ImageBuild{Recipe: "a"})
	bothWait()
	cancel()
	if err := (<-first).err; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-g.arrived // the second makes it now
	close(g.release)
	must(t, (<-second).err)
	f.consistent(t)
}

// TestLoserCleansUp lets the name be taken, by other means than Build, while an image of it is made.
func TestLoserCleansUp(t *testing.T) {
	f := newFixture(t)
	g := newGate(f.a)
	loser := f.start(t.Context(), api.ImageBuild{Recipe: "a"})
	<-g.arrived
	winner, err := f.Build(t.Context(), api.ImageBuild{Recipe: "b"})
	must(t, err)
	winner.Name = "a"
	must(t, f.store.ReplaceImage(t.Context(), winner))
	close(g.release)
	if err := (<-loser).err; !errors.Is(err, errdefs.ErrExists) {
		t.Errorf("got %v", err)
	}
	f.consistent(t)
}

// TestDeleteBesideBuild deletes an image while its replacement is made, and neither waits for the other.
func TestDeleteBesideBuild(t *testing.T) {
	f := newFixture(t)
	_, err := f.Build(t.Context(), api.ImageBuild{Recipe: "a"})
	must(t, err)
	g := newGate(f.a)
	f.a.content = "new"
	second := f.start(t.Context(), api.ImageBuild{Recipe: "a", Force: true})
	<-g.arrived
	_, err = f.Delete(t.Context(), "a")
	must(t, err)
	close(g.release)
	must(t, (<-second).err)
	if names := f.consistent(t); len(names) != 1 {
		t.Errorf("images %v", names)
	}
}

func TestEnsureIsMadeOnce(t *testing.T) {
	f := newFixture(t)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if i, err := f.Ensure(t.Context(), "a", ""); err != nil || i.Name != "a" {
				t.Errorf("got %q, %v", i.Name, err)
			}
		})
	}
	wg.Wait()
	if n := f.a.opened.Load(); n != 1 {
		t.Errorf("made %d times", n)
	}
}

// TestManyAtOnce builds, replaces and deletes few names from many goroutines; afterwards records and files agree.
func TestManyAtOnce(t *testing.T) {
	f := newFixture(t)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for range 10 {
				req := api.ImageBuild{Recipe: []string{"a", "b"}[n%2], Name: []string{"x", "y", "z"}[n%3], Force: n%4 < 2}
				if _, err := f.Build(t.Context(), req); err != nil && !errors.Is(err, errdefs.ErrExists) {
					t.Error(err)
				}
				if _, err := f.Delete(t.Context(), req.Name); err != nil && !errors.Is(err, errdefs.ErrNotFound) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	f.consistent(t)
}
