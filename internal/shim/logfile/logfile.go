// Package logfile writes a log of bounded size and reads it back: the file at its path and one older generation,
// path.1, which is replaced each time the file is full.
package logfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// File is a log that is being written. Its methods may be called from several goroutines.
type File struct {
	path  string
	limit int64

	mu      sync.Mutex
	current *os.File
	size    int64
	opened  func(*os.File)
}

// Open opens the log at path for appending, made with mode 0600 when it is missing. Each of its two generations holds
// at most limit bytes, or one write. opened, which may be nil, is called with the file that is written from now on:
// at once, and whenever another takes its place.
func Open(path string, limit int64, opened func(*os.File)) (*File, error) {
	f := &File{path: path, limit: limit, opened: opened}
	if err := f.open(); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return f, nil
}

func (f *File) open() error {
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close()
		return err
	}
	f.current, f.size = file, info.Size()
	if f.opened != nil {
		f.opened(file)
	}
	return nil
}

// Write appends p in one piece.
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current == nil {
		return 0, fs.ErrClosed
	}
	if f.size > 0 && f.size+int64(len(p)) > f.limit {
		if err := f.rotate(); err != nil {
			return 0, fmt.Errorf("rotate log: %w", err)
		}
	}
	n, err := f.current.Write(p)
	f.size += int64(n)
	return n, err
}

// rotate keeps writing to the old file when a new one cannot be made.
func (f *File) rotate() error {
	old := f.current
	if err := os.Rename(f.path, f.path+older); err != nil {
		return err
	}
	if err := f.open(); err != nil {
		return err
	}
	return old.Close()
}

// Close ends the log.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.current == nil {
		return nil
	}
	err := f.current.Close()
	f.current = nil
	return err
}

// older is what the path of the older generation ends with.
const older = ".1"

// Generations opens what there is of the log at path, the older generation first. No log at all is no error.
func Generations(path string) (Files, error) {
	var files Files
	for _, name := range []string{path + older, path} {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			files.Close()
			return nil, fmt.Errorf("open log: %w", err)
		}
		info, err := f.Stat()
		if err != nil {
			_ = f.Close()
			files.Close()
			return nil, fmt.Errorf("open log: %w", err)
		}
		files = append(files, generation{f, info.Size()})
	}
	return files, nil
}
