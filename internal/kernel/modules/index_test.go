package modules_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/internal/kernel/kerneltest"
)

// lookup finds a key in an index file, reading it as libkmod does.
func lookup(t *testing.T, data []byte, key string) []string {
	t.Helper()
	u32 := func(at uint32) uint32 { return binary.BigEndian.Uint32(data[at:]) }
	text := func(at uint32) string {
		end := bytes.IndexByte(data[at:], 0)
		return string(data[at : at+uint32(end)])
	}
	if u32(0) != 0xB007F457 || u32(4) != 0x00020001 {
		t.Fatalf("bad magic number or version: % x", data[:8])
	}
	for node := u32(8); node != 0; {
		flags, at := node&0xF0000000, node&0x0FFFFFFF
		if flags&0x80000000 != 0 {
			prefix := text(at)
			if len(key) < len(prefix) || key[:len(prefix)] != prefix {
				return nil
			}
			key, at = key[len(prefix):], at+uint32(len(prefix))+1
		}
		var children uint32
		if flags&0x20000000 != 0 {
			first, last := data[at], data[at+1]
			at += 2
			if key != "" && key[0] >= first && key[0] <= last {
				children = u32(at + 4*uint32(key[0]-first))
			}
			at += 4 * (uint32(last-first) + 1)
		}
		if key == "" {
			if flags&0x40000000 == 0 {
				return nil
			}
			count := u32(at)
			at += 4
			var values []string
			for range count {
				value := text(at + 4)
				values = append(values, value)
				at += 4 + uint32(len(value)) + 1
			}
			return values
		}
		node, key = children, key[1:]
	}
	return nil
}

func TestIndexes(t *testing.T) {
	files := kerneltest.Modules(version)
	files["modules.builtin.modinfo"] = []byte("ext4.license=GPL\x00ext4.alias=fs-ext4\x00ext4.alias=fs-ext3\x00")
	files["kernel/x.ko"] = module("alias=of:N*T*Cx,range-[0-9]-y", "softdep=pre: overlay")
	indexes, err := scan(t, files).Indexes()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]byte{}
	for i, index := range indexes {
		if i > 0 && indexes[i-1].Name >= index.Name {
			t.Errorf("%s does not come after %s", index.Name, indexes[i-1].Name)
		}
		got[index.Name] = index.Data
	}
	blk := "kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko"
	for _, test := range []struct {
		file, key string
		want      []string
	}{
		{"modules.dep.bin", "virtio_blk", []string{blk}},
		{"modules.dep.bin", "overlay", []string{"kernel/fs/overlayfs/overlay.ko:"}},
		{"modules.dep.bin", "virtio_rng", []string{"kernel/drivers/char/hw_random/virtio-rng.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko"}},
		{"modules.dep.bin", "virtio_", nil},
		{"modules.dep.bin", "nosuch", nil},
		{"modules.alias.bin", "fs_overlay", []string{"overlay"}},
		{"modules.alias.bin", "of:N*T*Cx,range_[0-9]_y", []string{"x"}},
		{"modules.alias.bin", "virtio:d00000002v*", []string{"virtio_blk"}},
		{"modules.builtin.bin", "ext4", []string{""}},
		{"modules.builtin.alias.bin", "fs_ext3", []string{"ext4"}},
	} {
		if diff := cmp.Diff(test.want, lookup(t, got[test.file], test.key)); diff != "" {
			t.Errorf("%s, key %s: %s", test.file, test.key, diff)
		}
	}
	for _, test := range []struct{ file, line string }{
		{"modules.dep", blk},
		{"modules.alias", "alias of:N*T*Cx,range-[0-9]-y x"},
		{"modules.softdep", "softdep x pre: overlay"},
		{"modules.devname", "fuse fuse c10:229"},
		{"modules.builtin", "kernel/fs/ext4/ext4.ko"},
	} {
		if !bytes.Contains(got[test.file], []byte(test.line+"\n")) {
			t.Errorf("%s lacks %q:\n%s", test.file, test.line, got[test.file])
		}
	}
}

// TestIndexOrdersByPriority has two modules with one alias: the one that modules.order names first is tried first.
func TestIndexOrdersByPriority(t *testing.T) {
	indexes, err := scan(t, map[string][]byte{
		"modules.order": []byte("kernel/z.ko\nkernel/a.ko\n"),
		"kernel/a.ko":   module("alias=same"),
		"kernel/z.ko":   module("alias=same"),
	}).Indexes()
	if err != nil {
		t.Fatal(err)
	}
	for _, index := range indexes {
		if index.Name == "modules.alias.bin" {
			if diff := cmp.Diff([]string{"z", "a"}, lookup(t, index.Data, "same")); diff != "" {
				t.Error(diff)
			}
		}
	}
}

// TestIndexOfMany looks every key up in an index whose keys share prefixes in all ways.
func TestIndexOfMany(t *testing.T) {
	files := map[string][]byte{}
	for i := range 300 {
		files[fmt.Sprintf("kernel/m%d.ko", i)] = module(fmt.Sprintf("alias=k%b", i), fmt.Sprintf("alias=k%d*", i))
	}
	indexes, err := scan(t, files).Indexes()
	if err != nil {
		t.Fatal(err)
	}
	for _, index := range indexes {
		if index.Name != "modules.alias.bin" {
			continue
		}
		for i := range 300 {
			want := []string{fmt.Sprintf("m%d", i)}
			for _, key := range []string{fmt.Sprintf("k%b", i), fmt.Sprintf("k%d*", i)} {
				if diff := cmp.Diff(want, lookup(t, index.Data, key)); diff != "" {
					t.Errorf("%s: %s", key, diff)
				}
			}
		}
	}
}
