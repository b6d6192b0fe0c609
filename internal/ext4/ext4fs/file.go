package ext4fs

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/ext4"
)

// File is a name in the file system and what it stands for.
type File struct {
	ext4.Entry
	Ino   uint32 // names with the same one are hard links
	Links uint32 // how many names it has, in the whole file system
	First string // of a hard link: the path of the name that a walk came to earlier; else empty

	fs    *FS
	inode *inode
}

// Content returns what is in a regular file, and nothing for others. Each call starts at the beginning.
func (f *File) Content() (io.Reader, error) {
	if f.Type != ext4.Regular {
		return bytes.NewReader(nil), nil
	}
	r, err := f.fs.content(f.inode)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", f.Path, err)
	}
	return r, nil
}

// Data calls visit for each part of a regular file that is not a hole, in order: its offset and size in bytes.
func (f *File) Data(visit func(off, size int64) error) error {
	if f.Type != ext4.Regular {
		return nil
	}
	if err := f.fs.data(f.inode, visit); err != nil {
		return fmt.Errorf("read %q: %w", f.Path, err)
	}
	return nil
}

// Stat returns what is at path, which is relative to the root; "" is the root. Symbolic links are not followed. When
// there is nothing, the error is of class errdefs.ErrNotFound.
func (f *FS) Stat(path string) (*File, error) {
	n, err := f.lookup(path)
	if err != nil {
		return nil, fmt.Errorf("stat %q: %w", path, err)
	}
	return f.file(path, n)
}

func (f *FS) lookup(path string) (*inode, error) {
	n, err := f.inode(rootIno)
	if err != nil || path == "" {
		return n, err
	}
	for name := range strings.SplitSeq(path, "/") {
		var ino uint32
		if n.kind == ext4.Directory {
			err := f.names(n, func(found string, at uint32) error {
				if found == name {
					ino = at
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
		if ino == 0 {
			return nil, errdefs.New(errdefs.ErrNotFound, "no such file")
		}
		if n, err = f.inode(ino); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// file describes n under the name path.
func (f *FS) file(path string, n *inode) (*File, error) {
	b := n.raw
	e := ext4.Entry{
		Path: path, Type: n.kind, Mode: n.mode & 0o7777, ModTime: n.modTime(),
		UID: uint32(le.Uint16(b[0x02:])) | uint32(le.Uint16(b[0x78:]))<<16,
		GID: uint32(le.Uint16(b[0x18:])) | uint32(le.Uint16(b[0x7a:]))<<16,
	}
	var err error
	switch n.kind {
	case ext4.Regular:
		e.Size = n.size
	case ext4.Symlink:
		e.Linkname, err = f.target(n)
	case ext4.CharDevice, ext4.BlockDevice:
		e.Major, e.Minor = n.device()
	}
	if err == nil {
		e.Xattrs, err = f.xattrs(n)
	}
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", path, err)
	}
	return &File{Entry: e, Ino: n.ino, Links: n.links, fs: f, inode: n}, nil
}

// target reads a symbolic link. Short ones are in the place of the block map.
func (f *FS) target(n *inode) (string, error) {
	if n.size == 0 || n.size > maxTarget {
		return "", damaged("inode %d is a symbolic link of %d bytes", n.ino, n.size)
	}
	b := make([]byte, n.size)
	if n.size < blockFieldSize && n.flags&(flagExtents|flagInline) == 0 {
		copy(b, n.field())
	} else {
		r, err := f.content(n)
		if err != nil {
			return "", err
		}
		if _, err := io.ReadFull(r, b); err != nil {
			return "", err
		}
	}
	if bytes.IndexByte(b, 0) >= 0 {
		return "", damaged("inode %d is a symbolic link with a zero byte in it", n.ino)
	}
	return string(b), nil
}
