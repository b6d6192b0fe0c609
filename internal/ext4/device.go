package ext4

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/errdefs"
)

const deviceBuffer = 1 << 20

// device is the file that holds the file system. Writes to neighbouring places are joined into large ones. What was
// never written, or was discarded, reads as zeros; callers rely on it and do not write zero blocks.
type device struct {
	f   *os.File
	buf []byte // not yet written
	off int64  // where buf belongs
}

// newDevice empties f.
func newDevice(f *os.File, size int64) (*device, error) {
	d := &device{f: f, buf: make([]byte, 0, deviceBuffer)}
	for _, n := range []int64{0, size} {
		if err := d.resize(n); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *device) resize(size int64) error {
	if err := d.f.Truncate(size); err != nil {
		return fmt.Errorf("resize image file: %w", noSpace(err))
	}
	return nil
}

// writeBlock writes p, which may be shorter than a block and is then followed by zeros.
func (d *device) writeBlock(block uint64, p []byte) error {
	off := int64(block) * blockSize
	if len(d.buf) > 0 && (off != d.off+int64(len(d.buf)) || len(d.buf) == deviceBuffer) {
		if err := d.flush(); err != nil {
			return err
		}
	}
	if len(d.buf) == 0 {
		d.off = off
	}
	d.buf = append(d.buf, p...)
	d.buf = append(d.buf, zeros[:blockSize-len(p)]...)
	return nil
}

func (d *device) flush() error {
	if len(d.buf) == 0 {
		return nil
	}
	_, err := d.f.WriteAt(d.buf, d.off)
	d.buf = d.buf[:0]
	if err != nil {
		return fmt.Errorf("write image file: %w", noSpace(err))
	}
	return nil
}

func (d *device) readBlock(block uint64, p []byte) error {
	if err := d.flush(); err != nil {
		return err
	}
	if _, err := d.f.ReadAt(p, int64(block)*blockSize); err != nil {
		return fmt.Errorf("read image file: %w", err)
	}
	return nil
}

// discard makes n blocks read as zeros and gives their space back to the host where it can.
func (d *device) discard(block, n uint64) error {
	if err := d.flush(); err != nil {
		return err
	}
	off, size := int64(block)*blockSize, int64(n)*blockSize
	err := punch(d.f, off, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return d.zero(off, size)
	}
	if err != nil {
		return fmt.Errorf("punch hole in image file: %w", noSpace(err))
	}
	return nil
}

func punch(f *os.File, off, size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, size)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (d *device) zero(off, size int64) error {
	zeros := make([]byte, min(size, deviceBuffer))
	for size > 0 {
		n, err := d.f.WriteAt(zeros[:min(size, int64(len(zeros)))], off)
		if err != nil {
			return fmt.Errorf("write image file: %w", noSpace(err))
		}
		off, size = off+int64(n), size-int64(n)
	}
	return nil
}

// noSpace puts the errors of a full host disk into their class.
func noSpace(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG) {
		return errdefs.As(errdefs.ErrExhausted, err)
	}
	return err
}
