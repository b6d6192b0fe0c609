package ext4fs_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/internal/ext4"
	"github.com/banger-dev/banger/internal/ext4/ext4fs"
)

// TestReadsWhatWeWrite compares what a Writer was given with what is read.
func TestReadsWhatWeWrite(t *testing.T) {
	when := time.Unix(1<<33, 987_654_321).UTC()
	entries := []ext4.Entry{
		{Path: "", Type: ext4.Directory, Mode: 0o711, ModTime: when},
		{Path: "acl", Mode: 0o644, Xattrs: map[string][]byte{"system.posix_acl_access": acl(), "trusted.t": {}}},
		{Path: "block", Type: ext4.BlockDevice, Mode: 0o600, Major: 4095, Minor: 1<<20 - 1, ModTime: when},
		{Path: "char", Type: ext4.CharDevice, Mode: 0o600, Major: 5, Minor: 1, ModTime: when},
		{Path: "d", Type: ext4.Directory, Mode: 0o2775, UID: 1 << 20, GID: 1<<32 - 2, ModTime: when},
		{Path: "fifo", Type: ext4.FIFO, ModTime: time.Unix(-1<<31, 5).UTC()},
		{Path: "file", Mode: 0o6755, Size: 1_000_003, ModTime: when, Xattrs: map[string][]byte{"user.x": bytes.Repeat([]byte("x"), 3000)}},
		{Path: "link", Type: ext4.Symlink, Mode: 0o777, Linkname: strings.Repeat("l", 4095), ModTime: when},
		{Path: "short", Type: ext4.Symlink, Mode: 0o777, Linkname: "s", ModTime: when},
		{Path: "socket", Type: ext4.Socket, Mode: 0o755, ModTime: when},
	}
	for name, o := range map[string]ext4.Options{
		"exact, read-only":     {ReadOnly: true, Label: "label"},
		"writable":             {Size: 64 << 20, Journal: true, Label: "label"},
		"more than a terabyte": {Size: 3 << 40, Journal: true, Label: "label"},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := os.Create(filepath.Join(t.TempDir(), "image"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			w, err := ext4.NewWriter(f, o)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if err := w.Add(e, bytes.NewReader(make([]byte, e.Size))); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 3000 {
				if err := w.Link(fmt.Sprintf("d/%d", i), "file"); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			e := open(t, f.Name())
			var got []ext4.Entry
			links := 0
			err = e.Walk(t.Context(), "", func(f *ext4fs.File) error {
				if strings.HasPrefix(f.Path, "d/") {
					links++
					if links > 1 && f.First != "d/0" || f.Links != 3001 {
						t.Errorf("%s: %d links, first %q", f.Path, f.Links, f.First)
					}
					return nil
				}
				if f.Path == "acl" {
					f.ModTime = time.Time{}
				}
				got = append(got, f.Entry)
				return nil
			})
			if err != nil || links != 3000 {
				t.Error(links, err)
			}
			if diff := cmp.Diff(entries, got); diff != "" {
				t.Error(diff)
			}
			info := e.Info()
			if info.Label != "label" || info.ReadOnly != o.ReadOnly || info.Journal != o.Journal || o.Size != 0 && info.Size != o.Size {
				t.Errorf("%+v", info)
			}
		})
	}
}
