package flatten

import (
	"archive/tar"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/ext4"
)

// cleanPath returns a name of the archive as a relative path, "" for the root. Like tar, it takes absolute names as
// relative ones. A name with ".." has no honest use.
func cleanPath(name string) (string, error) {
	if len(name) > maxPath {
		return "", errdefs.New(errdefs.ErrInvalid, "a name of %d bytes", len(name))
	}
	if slices.Contains(strings.Split(name, "/"), "..") {
		return "", errdefs.New(errdefs.ErrInvalid, `name %q has ".." in it`, name)
	}
	return strings.TrimPrefix(path.Clean("/"+name), "/"), nil
}

// entry translates a header. It does not set Path.
func (m *merge) entry(h *tar.Header) (ext4.Entry, error) {
	kind, err := typeOf(h.Typeflag)
	if err != nil {
		return ext4.Entry{}, err
	}
	for _, id := range []int{h.Uid, h.Gid} {
		if id < 0 || id > math.MaxUint32 {
			return ext4.Entry{}, errdefs.New(errdefs.ErrInvalid, "owner %d is out of range", id)
		}
	}
	e := ext4.Entry{
		Type: kind, Mode: uint16(h.Mode & 0o7777), UID: uint32(h.Uid), GID: uint32(h.Gid), ModTime: h.ModTime,
	}
	switch kind {
	case ext4.Regular:
		e.Size = h.Size
	case ext4.Symlink:
		e.Linkname = h.Linkname
		e.Mode = 0o777 // Linux knows no other
		if strings.Contains(h.Linkname, "\x00") {
			return ext4.Entry{}, errdefs.New(errdefs.ErrInvalid, "link target %q has a zero byte", h.Linkname)
		}
	case ext4.CharDevice, ext4.BlockDevice:
		if h.Devmajor < 0 || h.Devminor < 0 || h.Devmajor > math.MaxUint32 || h.Devminor > math.MaxUint32 {
			return ext4.Entry{}, errdefs.New(errdefs.ErrInvalid, "device number %d:%d is out of range", h.Devmajor, h.Devminor)
		}
		e.Major, e.Minor = uint32(h.Devmajor), uint32(h.Devminor)
	}
	m.setXattrs(&e, h)
	return e, nil
}

func typeOf(flag byte) (ext4.Type, error) {
	switch flag {
	case tar.TypeReg, '\x00', tar.TypeCont, tar.TypeGNUSparse:
		return ext4.Regular, nil
	case tar.TypeDir:
		return ext4.Directory, nil
	case tar.TypeSymlink:
		return ext4.Symlink, nil
	case tar.TypeChar:
		return ext4.CharDevice, nil
	case tar.TypeBlock:
		return ext4.BlockDevice, nil
	case tar.TypeFifo:
		return ext4.FIFO, nil
	}
	return 0, errdefs.New(errdefs.ErrInvalid, "entries of type %q are not supported", flag)
}
