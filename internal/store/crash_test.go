package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/banger-dev/banger/internal/errdefs"
)

// writeForever is a process that replaces pairs of records until it is killed, and prints each number that is stored.
func writeForever(path string) {
	s, err := Open(context.Background(), path)
	for n := 1; err == nil; n++ {
		i := image(strconv.Itoa(n), "base")
		if err = s.ReplaceImage(context.Background(), i); err == nil {
			_, err = fmt.Println(n)
		}
	}
	panic(err)
}

// TestKilledWriter kills a writer at several moments. Every write that it reported must be there, and at most one more.
func TestKilledWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "banger.db")
	for _, after := range []int{1, 3, 10, 30, 100} {
		last := runWriter(t, path, after)
		s, err := Open(t.Context(), path)
		must(t, err)
		images, err := s.Images(t.Context())
		must(t, err)
		if len(images) != 1 {
			t.Fatalf("%d images have one name", len(images))
		}
		if got, err := strconv.Atoi(images[0].ID); err != nil || got < last || got > last+1 {
			t.Errorf("killed after %d was stored, found %s", last, images[0].ID)
		}
		var check string
		must(t, s.db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&check))
		if check != "ok" {
			t.Errorf("integrity: %s", check)
		}
		must(t, s.Close())
	}
}

// runWriter kills a writer once it has reported the number after, and returns the last number that it reported.
func runWriter(t *testing.T, path string, after int) (last int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = []string{"STORE_TEST_WRITE=" + path}
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		last, err = strconv.Atoi(lines.Text())
		must(t, err)
		if last == after {
			must(t, cmd.Process.Kill())
		}
	}
	_ = cmd.Wait() // killed
	if last < after {
		t.Fatalf("the writer ended after %d", last)
	}
	return last
}

// TestConcurrentWriters lets two connections, as two processes would have, fight for names: each has one winner.
func TestConcurrentWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "banger.db")
	stores := []*Store{openAt(t, path), openAt(t, path)}
	const each = 25
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for w := range 4 {
		wg.Go(func() {
			for n := range each {
				err := stores[w%2].PutImage(t.Context(), image(fmt.Sprintf("%d-%d", w, n), strconv.Itoa(n)))
				mu.Lock()
				switch {
				case err == nil:
					won++
				case !errors.Is(err, errdefs.ErrExists):
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	images, err := stores[0].Images(t.Context())
	must(t, err)
	if won != each || len(images) != each {
		t.Errorf("%d writes won, %d images are there, want %d", won, len(images), each)
	}
}
