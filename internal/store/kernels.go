package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/banger-dev/banger/api"
)

var (
	kernelVMs    = use{"vm", "SELECT name FROM vms WHERE kernel_id = ? ORDER BY name"}
	kernelImages = use{"image", "SELECT i.name FROM images i JOIN kernels k ON i.kernel = k.name WHERE k.id = ? ORDER BY i.name"}
)

// Kernels returns every kernel, ordered by name.
func (s *Store) Kernels(ctx context.Context) ([]api.Kernel, error) {
	all, err := documents[api.Kernel](ctx, s.db, "SELECT json_set(doc, '$.name', name) FROM kernels ORDER BY name")
	if err != nil {
		return nil, fmt.Errorf("read kernels: %w", err)
	}
	return all, nil
}

// PutKernel adds a kernel. It is errdefs.ErrExists when its name or id is taken.
func (s *Store) PutKernel(ctx context.Context, k api.Kernel) error {
	return s.write(ctx, "record kernel", func(ctx context.Context, tx *sql.Tx) error {
		if err := free(ctx, tx, "kernels", "kernel", k.ID, k.Name); err != nil {
			return err
		}
		return upsertKernel(ctx, tx, k)
	})
}

// ReplaceKernel adds a kernel, or changes the one of its id. A kernel of another id that has the name loses its record,
// unless VMs use it: then it stays, named <name>-<id>. Images that name the kernel mean the new one from then on. The
// files of a kernel without a record are the caller's to remove.
func (s *Store) ReplaceKernel(ctx context.Context, k api.Kernel) error {
	return s.write(ctx, "record kernel", func(ctx context.Context, tx *sql.Tx) error {
		if err := retire(ctx, tx, "kernels", k.ID, k.Name, kernelVMs); err != nil {
			return err
		}
		return upsertKernel(ctx, tx, k)
	})
}

func upsertKernel(ctx context.Context, tx *sql.Tx, k api.Kernel) error {
	doc, err := json.Marshal(k)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO kernels (id, name, doc) VALUES (?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, doc = excluded.doc`, k.ID, k.Name, string(doc))
	return err
}

// DeleteKernel removes the record of the kernel id. It is errdefs.ErrInUse, naming them, while VMs use it or images
// name it, and errdefs.ErrNotFound when there is none.
func (s *Store) DeleteKernel(ctx context.Context, id string) error {
	return s.write(ctx, "delete kernel", func(ctx context.Context, tx *sql.Tx) error {
		return remove(ctx, tx, "kernels", "kernel", id, []use{kernelVMs, kernelImages})
	})
}
