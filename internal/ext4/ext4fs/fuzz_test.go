package ext4fs_test

import (
	"bytes"
	"context"
	"embed"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/ext4/ext4fs"
)

// images are small file systems of mke2fs without checksums, which would catch most damage before anything else sees it.
// testdata/make.sh makes them.
//
//go:embed testdata/*.zst
var images embed.FS

var imageNames = []string{"ext2", "ext4", "inline", "htree"}

func image(t testing.TB, name string) []byte {
	t.Helper()
	packed, err := images.ReadFile("testdata/" + name + ".img.zst")
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	b, err := z.DecodeAll(packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// patch changes bytes of an image: three bytes of a place and one of a value, again and again.
func patch(b, patches []byte) {
	for ; len(patches) >= 4; patches = patches[4:] {
		at := int(patches[0])<<16 | int(patches[1])<<8 | int(patches[2])
		b[at%len(b)] = patches[3]
	}
}

// FuzzWalk damages file systems. Whatever comes of it, a walk ends with an error of bad input or reads everything, in
// little memory.
func FuzzWalk(f *testing.F) {
	var all [][]byte
	for i, name := range imageNames {
		all = append(all, image(f, name))
		f.Add(byte(i), []byte{})
	}
	f.Fuzz(func(t *testing.T, which byte, patches []byte) {
		b := bytes.Clone(all[int(which)%len(all)])
		patch(b, patches)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := walk(b)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 256<<20 {
			t.Errorf("%d bytes of memory were used", used)
		}
		if err != nil && !errors.Is(err, errdefs.ErrInvalid) && !errors.Is(err, errdefs.ErrState) {
			t.Errorf("an error of no class: %v", err)
		}
	})
}

// walk reads all of an image, but little of files that are large because of a hole.
func walk(b []byte) error {
	fs, err := ext4fs.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return err
	}
	return fs.Walk(context.Background(), "", func(f *ext4fs.File) error {
		r, err := f.Content()
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, io.LimitReader(r, 4<<20)); err != nil {
			return fmt.Errorf("%q: %w", f.Path, err)
		}
		total := int64(0)
		if err := f.Data(func(_, size int64) error { total += size; return nil }); err != nil {
			return err
		}
		if total > int64(len(b)) {
			return fmt.Errorf("%q has %d bytes of data in an image of %d", f.Path, total, len(b))
		}
		return nil
	})
}

// TestDamage changes nearly every byte of the metadata of small images, one at a time.
func TestDamage(t *testing.T) {
	for _, name := range imageNames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := image(t, name)
			if err := walk(good); err != nil {
				t.Fatal(err)
			}
			b := bytes.Clone(good)
			for at := range b {
				if (b[at] == 0 && at%31 != 0) || b[at] == 0xff {
					continue // most of an image: holes, and the padding of bitmaps
				}
				b[at] = good[at] ^ 1
				if at%2 == 0 {
					b[at] = 0xff
				}
				if err := walk(b); err != nil && errdefs.Class(err) == nil {
					t.Fatalf("byte %d = %#x: an error of no class: %v", at, b[at], err)
				}
				b[at] = good[at]
			}
		})
	}
}

// TestSharedBlocks maps one block again and again: without a bound, a small image would have terabytes.
func TestSharedBlocks(t *testing.T) {
	b := image(t, "ext2")
	fs, err := ext4fs.Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	f, err := fs.Stat("spots")
	if err != nil {
		t.Fatal(err)
	}
	inode := findInode(t, b, f)
	indirect := binary.LittleEndian.Uint32(inode[0x28+4*12:])
	for i := range 256 {
		binary.LittleEndian.PutUint32(b[int(indirect)*1024+4*i:], indirect)
	}
	binary.LittleEndian.PutUint32(inode[0x28+4*14:], indirect) // three levels of itself
	binary.LittleEndian.PutUint32(inode[0x04:], 1<<32-1)
	if err := walk(b); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("walk: %v", err)
	}
}

// findInode returns where the inode of f is in b: the images have one group of 128-byte or 256-byte inodes.
func findInode(t *testing.T, b []byte, f *ext4fs.File) []byte {
	t.Helper()
	table := int(binary.LittleEndian.Uint32(b[2048+8:])) * 1024
	size := int(binary.LittleEndian.Uint16(b[1024+0x58:]))
	inode := b[table+int(f.Ino-1)*size:][:size]
	if links := binary.LittleEndian.Uint16(inode[0x1a:]); uint32(links) != f.Links {
		t.Fatalf("inode %d is not at %d", f.Ino, table)
	}
	return inode
}
