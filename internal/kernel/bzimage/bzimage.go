// Package bzimage turns a Linux kernel file into the uncompressed ELF vmlinux that virtual machine monitors boot.
// It takes a bzImage, whose payload it finds and unpacks in the way of the kernel's own boot stub
// (Documentation/arch/x86/boot.rst), or a vmlinux that is uncompressed already. Input is not trusted.
package bzimage

import (
	"errors"
	"fmt"
	"io"

	"github.com/banger-dev/banger/internal/errdefs"
)

// MaxSize bounds the unpacked kernel, in bytes. Distributions' kernels have 40 to 80 MB, with debugging information
// several hundred.
const MaxSize = 1 << 30

// File is where the kernel is written, and read back to be checked; an *os.File that is empty and open for both.
type File interface {
	io.Writer
	io.ReaderAt
}

// Info describes an unpacked kernel.
type Info struct {
	Size    int64  // bytes written
	Format  string // how it was packed: gzip, xz, zstd, lz4, bzip2, lzma, or none
	Version string // as uname -r prints it
}

// Unpack writes the vmlinux within src, which has size bytes, to dst. What it writes is a whole x86-64 ELF executable
// with a PVH entry point; anything else is errdefs.ErrInvalid, and dst then holds garbage.
func Unpack(dst File, src io.ReaderAt, size int64) (Info, error) {
	packed, err := open(src, size)
	if err != nil {
		return Info{}, errdefs.As(errdefs.ErrInvalid, err)
	}
	n, err := packed.writeTo(dst)
	if err != nil {
		return Info{}, err
	}
	version, err := check(dst, n)
	if err != nil {
		return Info{}, errdefs.As(errdefs.ErrInvalid, err)
	}
	return Info{Size: n, Format: packed.format, Version: version}, nil
}

// payload is the packed kernel within a file.
type payload struct {
	format string
	reader io.Reader
	size   int64 // unpacked, in bytes
}

func open(src io.ReaderAt, size int64) (payload, error) {
	var magic [4]byte
	if _, err := src.ReadAt(magic[:], 0); err != nil {
		return payload{}, fmt.Errorf("a file of %d bytes is no kernel", size)
	}
	if string(magic[:]) == elfMagic {
		if size > MaxSize {
			return payload{}, fmt.Errorf("the kernel has %d bytes, more than %d", size, MaxSize)
		}
		return payload{format: "none", reader: io.NewSectionReader(src, 0, size), size: size}, nil
	}
	body, err := locate(src, size)
	if err != nil {
		return payload{}, err
	}
	return unpacker(body)
}

// writeTo copies the unpacked kernel. Faults of the input are errdefs.ErrInvalid, faults of w have no class.
func (p payload) writeTo(w io.Writer) (int64, error) {
	source := &sourceErrors{r: io.LimitReader(p.reader, p.size+1)}
	n, err := io.Copy(w, source)
	switch {
	case source.err != nil:
		return n, errdefs.New(errdefs.ErrInvalid, "unpack the %s payload: %w", p.format, truncated(source.err))
	case err != nil:
		return n, fmt.Errorf("write the unpacked kernel: %w", err)
	case n != p.size:
		return n, errdefs.New(errdefs.ErrInvalid, "unpack the %s payload: it does not have the %d bytes that it declares", p.format, p.size)
	}
	return n, nil
}

// sourceErrors remembers the error of its reader, which io.Copy does not tell from the writer's.
type sourceErrors struct {
	r   io.Reader
	err error
}

func (s *sourceErrors) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func truncated(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it is truncated")
	}
	return err
}
