package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
)

// namedInErrors is how many users of a thing an error names.
const namedInErrors = 8

// documents decodes what a query of one column of JSON returns. It is never nil.
func documents[T any](ctx context.Context, db *sql.DB, query string) ([]T, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, explain(err, "")
	}
	defer func() { _ = rows.Close() }() // rows.Err has what matters
	all := []T{}
	for rows.Next() {
		var doc []byte
		if err := rows.Scan(&doc); err != nil {
			return nil, err
		}
		var t T
		if err := json.Unmarshal(doc, &t); err != nil {
			return nil, fmt.Errorf("decode a record: %w", err)
		}
		all = append(all, t)
	}
	return all, explain(rows.Err(), "")
}

// texts returns what a query of one column of text returns.
func texts(ctx context.Context, tx *sql.Tx, query string, args ...any) ([]string, error) {
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has what matters
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

// free returns errdefs.ErrExists when another object of the table has the name or the id.
func free(ctx context.Context, tx *sql.Tx, table, kind, id, name string) error {
	taken, err := texts(ctx, tx, "SELECT name FROM "+table+" WHERE name = ?2 AND id <> ?1", id, name)
	if err != nil {
		return err
	}
	if len(taken) > 0 {
		return errdefs.New(errdefs.ErrExists, "%s %q exists", kind, name)
	}
	taken, err = texts(ctx, tx, "SELECT name FROM "+table+" WHERE id = ?1", id)
	if err != nil {
		return err
	}
	if len(taken) > 0 {
		return errdefs.New(errdefs.ErrExists, "%s %q exists with the id %s", kind, taken[0], id)
	}
	return nil
}

// remove deletes the row of the table unless one of the queries, which take its id, names someone who uses it.
func remove(ctx context.Context, tx *sql.Tx, table, kind, id string, users []use) error {
	for _, u := range users {
		names, err := texts(ctx, tx, u.query, id)
		if err != nil {
			return err
		}
		if len(names) > 0 {
			return inUse(kind, u.by, names)
		}
	}
	result, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE id = ?", id) //nolint:gosec // a constant
	if err != nil {
		return err
	}
	return found(result, kind, id)
}

// use is a way in which a row may be needed: a query for the names of those who need the id that is its parameter.
type use struct{ by, query string }

func inUse(kind, by string, names []string) error {
	if len(names) > namedInErrors {
		names = append(names[:namedInErrors], "...")
	}
	s := "s"
	if len(names) == 1 {
		s = ""
	}
	list := strings.Join(names, ", ")
	return errdefs.WithHint(errdefs.New(errdefs.ErrInUse, "the %s is used by %s%s %s", kind, by, s, list),
		"delete what uses it first")
}

// found returns errdefs.ErrNotFound when a statement changed no row.
func found(result sql.Result, kind, id string) error {
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		err = errdefs.New(errdefs.ErrNotFound, "%s %q not found", kind, id)
	}
	return err
}

// retire makes name free for id: another object that has it goes when nobody uses it, else it is renamed to its name
// and id, which is how its users go on.
func retire(ctx context.Context, tx *sql.Tx, table, id, name string, users ...use) error {
	old, err := texts(ctx, tx, "SELECT id FROM "+table+" WHERE name = ? AND id <> ?", name, id)
	if err != nil || len(old) == 0 {
		return err
	}
	for _, u := range users {
		names, err := texts(ctx, tx, u.query, old[0])
		if err != nil {
			return err
		}
		if len(names) > 0 {
			_, err := tx.ExecContext(ctx, "UPDATE "+table+" SET name = ? WHERE id = ?", retired(name, old[0]), old[0]) //nolint:gosec // a constant
			return err
		}
	}
	_, err = tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE id = ?", old[0]) //nolint:gosec // a constant
	return err
}

// retired is a valid name that nothing else has, as long as ids are unique.
func retired(name, id string) string {
	const longest = 64
	return name[:min(len(name), longest-1-len(id))] + "-" + id
}
