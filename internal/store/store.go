// Package store keeps the records of what should exist: images, kernels and VMs. It is one SQLite database; what a
// method has returned without an error survives the loss of power.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/fsutil"
)

// pragmas of every connection. In WAL mode a commit is durable only with synchronous=FULL. The cache is in KiB when
// negative: the database is small and the daemon stays resident.
var pragmas = []string{
	"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", "busy_timeout(10000)", "cache_size(-256)",
	"journal_size_limit(1048576)",
}

// Store is an open database. Its methods may be called concurrently, also by several processes.
type Store struct {
	db *sql.DB
}

// Open opens the database path, makes it when it is not there, and brings its schema up to date.
// A database that a later banger has written is errdefs.ErrUnavailable.
func Open(ctx context.Context, path string) (*Store, error) {
	s, err := open(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", path, explain(err, path))
	}
	return s, nil
}

func open(ctx context.Context, path string) (*Store, error) {
	if err := touch(path); err != nil {
		return nil, err
	}
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{"_pragma": pragmas, "_txlock": {"immediate"}}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	// SQLite has one writer at a time, and every read here takes microseconds: more connections would only cost memory.
	db.SetMaxOpenConns(1)
	s := &Store{db}
	if err := s.migrate(ctx, migrations()); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// touch makes the database file, for this user only, and its directory entry durable. SQLite gives the mode to the
// files that it makes next to it.
func touch(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return fsutil.SyncDir(filepath.Dir(path))
}

// Close ends the use of the database.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// write runs f in a transaction that excludes other writers from its start.
func (s *Store) write(ctx context.Context, operation string, f func(ctx context.Context, tx *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, explain(err, ""))
	}
	err = f(ctx, tx)
	if err == nil {
		err = tx.Commit()
	}
	if err == nil {
		return nil
	}
	if e := tx.Rollback(); e != nil && !errors.Is(e, sql.ErrTxDone) {
		err = errors.Join(err, e)
	}
	return fmt.Errorf("%s: %w", operation, explain(err, ""))
}

// explain gives SQLite's errors that a user can do something about their class and hint.
func explain(err error, path string) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff { // the rest is the extended code
	case sqlite3.SQLITE_FULL:
		return errdefs.WithHint(errdefs.As(errdefs.ErrExhausted, err), "free some space on the disk of banger's state directory")
	case sqlite3.SQLITE_BUSY:
		return errdefs.As(errdefs.ErrTimeout, err)
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		if path == "" {
			path = "banger.db"
		}
		return errdefs.WithHint(errdefs.As(errdefs.ErrUnavailable, err),
			"the records are damaged: restore %s from a backup, or move it away and build images anew", path)
	}
	return err
}
