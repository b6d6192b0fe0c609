package blockdev

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFind(t *testing.T) {
	root := t.TempDir()
	sys, dev := filepath.Join(root, "sys"), filepath.Join(root, "dev")
	for path, text := range map[string]string{
		"sys/vda/serial": "banger-rootfs", "sys/vdb/serial": "banger-rootfs-2\n", "sys/vdc/serial": "early\n", "sys/loop0/size": "0",
		"dev/vda": "", "dev/vdb": "",
	} {
		file := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct{ name, sys, serial, want string }{
		{name: "there", sys: sys, serial: "banger-rootfs", want: dev + "/vda"},
		{name: "with a newline", sys: sys, serial: "banger-rootfs-2", want: dev + "/vdb"},
		{name: "node not made yet", sys: sys, serial: "early"},
		{name: "a prefix is not enough", sys: sys, serial: "banger"},
		{name: "no disks at all", sys: root + "/none", serial: "banger-rootfs"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := find(tc.sys, dev, tc.serial)
			if err != nil || got != tc.want {
				t.Errorf("got %q, error %v", got, err)
			}
		})
	}
}

func super(blocks uint64, log, features uint32) []byte {
	b := make([]byte, superSize)
	binary.LittleEndian.PutUint16(b[magicOffset:], magic)
	binary.LittleEndian.PutUint32(b[blocksLow:], uint32(blocks))
	binary.LittleEndian.PutUint32(b[blocksHigh:], uint32(blocks>>32))
	binary.LittleEndian.PutUint32(b[logBlockSize:], log)
	binary.LittleEndian.PutUint32(b[incompat:], features)
	return b
}

func TestParseSuper(t *testing.T) {
	for _, tc := range []struct {
		name              string
		super             []byte
		blocks, blockSize uint64
		err               error
	}{
		{name: "small blocks", super: super(100, 0, 0), blocks: 100, blockSize: 1024},
		{name: "64 bit", super: super(1<<33+5, 2, incompat64Bit), blocks: 1<<33 + 5, blockSize: 4096},
		{name: "high half means nothing without 64 bit", super: super(1<<33+5, 2, 0), blocks: 5, blockSize: 4096},
		{name: "zeros", super: make([]byte, superSize), err: errNotExt4},
		{name: "short", super: super(1, 0, 0)[:100], err: errNotExt4},
		{name: "absurd block size", super: super(1, 60, 0), err: errNotExt4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			blocks, size, err := parseSuper(tc.super)
			if blocks != tc.blocks || size != tc.blockSize || !errors.Is(err, tc.err) {
				t.Errorf("got %d blocks of %d, error %v", blocks, size, err)
			}
		})
	}
}

func FuzzParseSuper(f *testing.F) {
	f.Add(super(100, 2, incompat64Bit))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, size, err := parseSuper(b); err == nil && (size < 1024 || size > 64<<10) {
			t.Errorf("block size %d", size)
		}
	})
}

func TestSizes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, append(make([]byte, superOffset), super(3, 0, 0)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 10<<10); err != nil {
		t.Fatal(err)
	}
	have, want, err := sizes(file)
	if have != 3 || want != 10 || err != nil {
		t.Errorf("have %d, want %d, error %v", have, want, err)
	}
}
