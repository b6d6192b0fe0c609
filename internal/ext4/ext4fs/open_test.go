package ext4fs_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/ext4/ext4fs"
)

func TestOpenRefuses(t *testing.T) {
	set16 := func(at int, v uint16) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint16(b[1024+at:], v) }
	}
	set32 := func(at int, v uint32) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint32(b[1024+at:], v) }
	}
	or32 := func(at int, v uint32) func([]byte) {
		return func(b []byte) {
			binary.LittleEndian.PutUint32(b[1024+at:], v|binary.LittleEndian.Uint32(b[1024+at:]))
		}
	}
	for name, test := range map[string]struct {
		damage func([]byte)
		class  error
		text   string
	}{
		"another format":       {set16(0x38, 0), errdefs.ErrInvalid, "not ext2, ext3 or ext4"},
		"a journal to replay":  {or32(0x60, 0x4), errdefs.ErrState, "journal must be replayed"},
		"not unmounted":        {set16(0x3a, 0), errdefs.ErrState, "not unmounted"},
		"with errors":          {set16(0x3a, 3), errdefs.ErrState, "having errors"},
		"a journal device":     {or32(0x60, 0x8), errdefs.ErrInvalid, "it is a journal"},
		"compressed":           {or32(0x60, 0x1), errdefs.ErrInvalid, "unknown features (incompat 0x1)"},
		"huge blocks":          {set32(0x18, 60), errdefs.ErrInvalid, "blocks of"},
		"no blocks":            {set32(0x04, 0), errdefs.ErrInvalid, "blocks"},
		"more blocks":          {set32(0x04, 97), errdefs.ErrInvalid, "truncated"},
		"no groups":            {set32(0x20, 0), errdefs.ErrInvalid, "groups of 0 blocks"},
		"no inodes in a group": {set32(0x28, 0), errdefs.ErrInvalid, "groups of 0 inodes"},
		"small inodes":         {set16(0x58, 64), errdefs.ErrInvalid, "inodes of 64 bytes"},
		"too many inodes":      {set32(0x00, 1<<31), errdefs.ErrInvalid, "inodes in"},
		"odd descriptors":      {set16(0xfe, 96), errdefs.ErrInvalid, "descriptors of 96"},
		"checksums that fail":  {or32(0x64, 0x400), errdefs.ErrInvalid, "checksum of the superblock"},
	} {
		t.Run(name, func(t *testing.T) {
			b := image(t, "ext4")
			test.damage(b)
			_, err := ext4fs.Open(bytes.NewReader(b), int64(len(b)))
			if !errors.Is(err, test.class) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%v", err)
			}
		})
	}
	if _, err := ext4fs.Open(strings.NewReader("x"), 1); !errors.Is(err, errdefs.ErrInvalid) {
		t.Error(err)
	}
	if _, err := ext4fs.Open(strings.NewReader("x"), 1<<20); err == nil || errdefs.Class(err) != nil {
		t.Errorf("a file that is shorter than it was: %v", err)
	}
}

// TestChecksums changes nearly every byte of an image with checksums: only the content of files may differ then.
func TestChecksums(t *testing.T) {
	good := image(t, "sums")
	want, err := names(good)
	if err != nil {
		t.Fatal(err)
	}
	b, caught := bytes.Clone(good), 0
	for at := range b {
		if (b[at] == 0 && at%31 != 0) || b[at] == 0xff {
			continue
		}
		b[at] ^= 4
		got, err := names(b)
		switch {
		case err != nil:
			caught++
		case got != want:
			t.Errorf("byte %d: another tree\n%s", at, got)
		}
		b[at] = good[at]
	}
	if caught < 500 {
		t.Errorf("only %d changes were found", caught)
	}
}

// names describes all that is in an image but for content.
func names(b []byte) (string, error) {
	fs, err := ext4fs.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return "", err
	}
	var out strings.Builder
	err = fs.Walk(context.Background(), "", func(f *ext4fs.File) error {
		f.Linkname = "" // which has no checksum when it is long
		fmt.Fprintf(&out, "%v\n", f.Entry)
		return f.Data(func(off, size int64) error { fmt.Fprintf(&out, " %d+%d", off, size); return nil })
	})
	return out.String(), err
}
