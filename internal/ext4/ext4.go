// Package ext4 writes ext4 file systems into ordinary files: no root, no mount, no mkfs, no unpacked tree.
//
// [Format] makes an empty file system. A [Writer] takes entries one after the other, as a tar stream has them; file
// data goes to disk as it arrives, the rest is kept in memory and written by [Writer.Close]. The same calls make the
// same bytes. The format is that of the Linux kernel's Documentation/filesystems/ext4.
//
// There is no lost+found, which would be in the way in a root or home directory: e2fsck makes one when it needs it.
package ext4

import (
	"os"
	"time"
)

// Options describes a file system to be made.
type Options struct {
	Size     int64     // bytes, at most 16 TiB; 0: just large enough for what is added, and without room to write
	ReadOnly bool      // Linux then refuses to mount it for writing
	Journal  bool      // a journal of at most 64 MiB, by size
	Label    string    // at most 16 bytes
	UUID     [16]byte  // zero: derived from the other options
	Inodes   uint32    // how many it can hold at most; 0: one for each 16 KiB of Size, or no bound
	Epoch    time.Time // when it was made, and the time of entries that have none; zero: 1970
}

// Type is the type of a directory entry.
type Type uint8

// The types.
const (
	Regular Type = iota
	Directory
	Symlink
	CharDevice
	BlockDevice
	FIFO
	Socket
)

// Entry is one file, directory, link or device.
type Entry struct {
	Path         string // clean, separated by slashes, without a leading one; "" or "." is the root
	Type         Type
	Mode         uint16 // permission bits, setuid, setgid, sticky: 07777
	UID, GID     uint32
	ModTime      time.Time // 1901 to 2446, clamped; zero: Options.Epoch
	Size         int64     // bytes, of a regular file
	Linkname     string    // of a symbolic link
	Major, Minor uint32    // of a device: at most 4095 and 1048575
	Xattrs       map[string][]byte
}

// Format makes an empty file system in f, whose former content is lost. It writes little even when o.Size is large:
// what it does not write is a hole in f.
func Format(f *os.File, o Options) error {
	w, err := NewWriter(f, o)
	if err != nil {
		return err
	}
	return w.Close()
}
