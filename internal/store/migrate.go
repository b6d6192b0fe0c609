package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/banger-dev/banger/internal/errdefs"
)

// A migration is published once it has been in a release: later changes to the schema are new files.
//
//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations returns the scripts in the order of their numbers. The first brings an empty database to version 1.
func migrations() []string {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql") // sorted
	if err != nil {
		panic(err) // the pattern is a constant
	}
	scripts := make([]string, len(names))
	for i, name := range names {
		data, err := migrationFiles.ReadFile(name)
		if err != nil {
			panic(err) // it is embedded
		}
		scripts[i] = string(data)
	}
	return scripts
}

// migrate runs the scripts that the database has not seen, each in a transaction of its own.
func (s *Store) migrate(ctx context.Context, scripts []string) error {
	for {
		done := false
		err := s.write(ctx, "migrate", func(ctx context.Context, tx *sql.Tx) error {
			var err error
			done, err = step(ctx, tx, scripts)
			return err
		})
		if err != nil || done {
			return err
		}
	}
}

// step runs the next script, if any. The version is read in the same transaction, as another process may be migrating.
func step(ctx context.Context, tx *sql.Tx, scripts []string) (done bool, err error) {
	var version int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return false, err
	}
	switch {
	case version == len(scripts):
		return true, nil
	case version > len(scripts):
		return false, errdefs.WithHint(
			errdefs.New(errdefs.ErrUnavailable, "the schema has version %d, this banger knows versions up to %d", version, len(scripts)),
			"use the later banger that wrote it, or set BANGER_HOME to another directory")
	}
	if _, err := tx.ExecContext(ctx, scripts[version]); err != nil {
		return false, fmt.Errorf("to version %d: %w", version+1, err)
	}
	_, err = tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version+1)) // a pragma takes no parameters
	return false, err
}
