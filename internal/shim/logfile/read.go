package logfile

import (
	"bytes"
	"fmt"
	"io"
	"os"
)

// Files are the generations of a log as they were when they were opened: what is appended later is not read.
type Files []generation

type generation struct {
	file *os.File
	size int64
}

// Close closes the files, which were only read from.
func (f Files) Close() {
	for _, g := range f {
		_ = g.file.Close()
	}
}

// Copy writes the last lines lines to w, all of them when lines is negative. A final line without a newline counts.
func (f Files) Copy(w io.Writer, lines int) error {
	first, from, err := f.locate(lines)
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	for _, g := range f[first:] {
		if _, err := io.Copy(w, io.NewSectionReader(g.file, from, g.size-from)); err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		from = 0
	}
	return nil
}

// locate finds the generation and the offset in it where the last lines lines begin.
func (f Files) locate(lines int) (first int, offset int64, err error) {
	if lines < 0 {
		return 0, 0, nil
	}
	if lines == 0 {
		return len(f), 0, nil
	}
	atEnd := true // a newline at the very end ends the last line and begins no other
	for i := len(f) - 1; i >= 0; i-- {
		for end := f[i].size; end > 0; {
			buf := make([]byte, min(end, 32<<10))
			end -= int64(len(buf))
			if _, err := f[i].file.ReadAt(buf, end); err != nil {
				return 0, 0, err
			}
			if atEnd {
				buf, atEnd = bytes.TrimSuffix(buf, []byte{'\n'}), false
			}
			for at := bytes.LastIndexByte(buf, '\n'); at >= 0; at = bytes.LastIndexByte(buf[:at], '\n') {
				if lines--; lines == 0 {
					return i, end + int64(at) + 1, nil
				}
			}
		}
	}
	return 0, 0, nil
}

// Copy writes the last lines lines of the log at path to w, all of them when lines is negative.
func Copy(w io.Writer, path string, lines int) error {
	files, err := Generations(path)
	if err != nil {
		return err
	}
	defer files.Close()
	return files.Copy(w, lines)
}
