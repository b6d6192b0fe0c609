package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
)

// VMRecord is what is kept of a VM. The names of its image and kernel follow theirs.
type VMRecord struct {
	api.VM
	KernelID   string `json:"kernel_id"`
	OwnerPID   int    `json:"owner_pid,omitempty"`   // with AutoRemove: whose end deletes the VM
	OwnerStart uint64 `json:"owner_start,omitempty"` // starttime of OwnerPID (proc_pid_stat(5), field 22), as pids are used again
	Deleting   bool   `json:"deleting,omitempty"`    // its deletion has begun and must be finished
}

// VMs returns every VM, ordered by name.
func (s *Store) VMs(ctx context.Context) ([]VMRecord, error) {
	all, err := documents[VMRecord](ctx, s.db, `SELECT json_set(v.doc, '$.image', i.name, '$.kernel', k.name)
		FROM vms v JOIN images i ON i.id = v.image_id JOIN kernels k ON k.id = v.kernel_id ORDER BY v.name`)
	if err != nil {
		return nil, fmt.Errorf("read vms: %w", err)
	}
	return all, nil
}

// PutVM adds a VM. It is errdefs.ErrExists when its name or id is taken, and errdefs.ErrNotFound when its image or
// kernel is not there.
func (s *Store) PutVM(ctx context.Context, v VMRecord) error {
	return s.write(ctx, "record vm", func(ctx context.Context, tx *sql.Tx) error {
		if err := free(ctx, tx, "vms", "vm", v.ID, v.Name); err != nil {
			return err
		}
		if err := parents(ctx, tx, v); err != nil {
			return err
		}
		doc, err := json.Marshal(v)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO vms (id, name, image_id, kernel_id, doc) VALUES (?, ?, ?, ?, ?)",
			v.ID, v.Name, v.ImageID, v.KernelID, string(doc))
		return err
	})
}

// UpdateVM changes the record of the VM v.ID. It is errdefs.ErrNotFound when there is none or its image or kernel is
// not there, and errdefs.ErrExists when another has the name.
func (s *Store) UpdateVM(ctx context.Context, v VMRecord) error {
	return s.write(ctx, "update vm", func(ctx context.Context, tx *sql.Tx) error {
		if err := parents(ctx, tx, v); err != nil {
			return err
		}
		taken, err := texts(ctx, tx, "SELECT name FROM vms WHERE name = ? AND id <> ?", v.Name, v.ID)
		if err != nil {
			return err
		}
		if len(taken) > 0 {
			return errdefs.New(errdefs.ErrExists, "vm %q exists", v.Name)
		}
		doc, err := json.Marshal(v)
		if err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, "UPDATE vms SET name = ?, image_id = ?, kernel_id = ?, doc = ? WHERE id = ?",
			v.Name, v.ImageID, v.KernelID, string(doc), v.ID)
		if err != nil {
			return err
		}
		return found(result, "vm", v.ID)
	})
}

// parents returns errdefs.ErrNotFound when the image or the kernel of v has no record.
func parents(ctx context.Context, tx *sql.Tx, v VMRecord) error {
	for _, p := range []struct{ table, kind, id, name string }{
		{"images", "image", v.ImageID, v.Image}, {"kernels", "kernel", v.KernelID, v.Kernel},
	} {
		ids, err := texts(ctx, tx, "SELECT id FROM "+p.table+" WHERE id = ?", p.id)
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			return errdefs.New(errdefs.ErrNotFound, "%s %q (id %q) not found", p.kind, p.name, p.id)
		}
	}
	return nil
}

// DeleteVM removes the record of the VM id, if there is one.
func (s *Store) DeleteVM(ctx context.Context, id string) error {
	return s.write(ctx, "delete vm", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM vms WHERE id = ?", id)
		return err
	})
}
