package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/banger-dev/banger/api"
)

var imageUsers = use{"vm", "SELECT name FROM vms WHERE image_id = ? ORDER BY name"}

// Images returns every image, ordered by name.
func (s *Store) Images(ctx context.Context) ([]api.Image, error) {
	all, err := documents[api.Image](ctx, s.db, "SELECT json_set(doc, '$.name', name) FROM images ORDER BY name")
	if err != nil {
		return nil, fmt.Errorf("read images: %w", err)
	}
	return all, nil
}

// PutImage adds an image. It is errdefs.ErrExists when its name or id is taken.
func (s *Store) PutImage(ctx context.Context, i api.Image) error {
	return s.write(ctx, "record image", func(ctx context.Context, tx *sql.Tx) error {
		if err := free(ctx, tx, "images", "image", i.ID, i.Name); err != nil {
			return err
		}
		return upsertImage(ctx, tx, i)
	})
}

// ReplaceImage adds an image, or changes the one of its id. An image of another id that has the name loses its record,
// unless VMs use it: then it stays, named <name>-<id>. The files of an image without a record are the caller's to remove.
func (s *Store) ReplaceImage(ctx context.Context, i api.Image) error {
	return s.write(ctx, "record image", func(ctx context.Context, tx *sql.Tx) error {
		if err := retire(ctx, tx, "images", i.ID, i.Name, imageUsers); err != nil {
			return err
		}
		return upsertImage(ctx, tx, i)
	})
}

func upsertImage(ctx context.Context, tx *sql.Tx, i api.Image) error {
	doc, err := json.Marshal(i)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO images (id, name, kernel, doc) VALUES (?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, kernel = excluded.kernel, doc = excluded.doc`,
		i.ID, i.Name, i.Kernel, string(doc))
	return err
}

// DeleteImage removes the record of the image id. It is errdefs.ErrInUse, naming the VMs, while VMs use it, and
// errdefs.ErrNotFound when there is none.
func (s *Store) DeleteImage(ctx context.Context, id string) error {
	return s.write(ctx, "delete image", func(ctx context.Context, tx *sql.Tx) error {
		return remove(ctx, tx, "images", "image", id, []use{imageUsers})
	})
}
