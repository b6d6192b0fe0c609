package store

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func version(t *testing.T, s *Store) (n int) {
	t.Helper()
	must(t, s.db.QueryRowContext(t.Context(), "PRAGMA user_version").Scan(&n))
	return n
}

func TestMigrateInOrder(t *testing.T) {
	s := populated(t)
	scripts := append(migrations(),
		"ALTER TABLE images ADD COLUMN size INTEGER NOT NULL DEFAULT 0;",
		"UPDATE images SET size = 7; CREATE INDEX images_size ON images (size);")
	for range 2 { // the second time nothing is left to do
		must(t, s.migrate(t.Context(), scripts))
	}
	if got := version(t, s); got != 3 {
		t.Errorf("version %d, want 3", got)
	}
	var size int
	must(t, s.db.QueryRowContext(t.Context(), "SELECT size FROM images WHERE id = 'i1'").Scan(&size))
	if size != 7 {
		t.Errorf("size %d", size)
	}
}

func TestFailedMigrationChangesNothing(t *testing.T) {
	s := populated(t)
	before := names(t, s)
	err := s.migrate(t.Context(), append(migrations(), "DROP INDEX vms_image; DELETE FROM vms; SELECT nonsense;"))
	if err == nil || !strings.Contains(err.Error(), "migrate: to version 2: ") {
		t.Errorf("got %v", err)
	}
	if got := version(t, s); got != 1 {
		t.Errorf("version %d, want 1", got)
	}
	if after := names(t, s); after != before {
		t.Errorf("records were %q, are %q", before, after)
	}
}

func TestConcurrentOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "banger.db")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s, err := Open(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
