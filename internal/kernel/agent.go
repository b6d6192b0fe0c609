package kernel

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"github.com/banger-dev/banger/internal/errdefs"
)

// agentFile is the guest agent's executable. Its digest is kept for as long as the file looks the same.
type agentFile struct {
	path string

	mu     sync.Mutex
	seen   fileStamp
	digest string
}

// fileStamp changes whenever a file is replaced or written to.
type fileStamp struct {
	inode   uint64
	size    int64
	changed syscall.Timespec
}

func stampOf(info fs.FileInfo) fileStamp {
	sys := info.Sys().(*syscall.Stat_t)
	return fileStamp{inode: sys.Ino, size: sys.Size, changed: sys.Ctim}
}

// sum returns the sha256 of the agent, in hex.
func (a *agentFile) sum() (string, error) {
	f, stamp, err := a.openFile()
	if err != nil {
		return "", err
	}
	defer f.Close()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.digest != "" && a.seen == stamp {
		return a.digest, nil
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return "", fmt.Errorf("read the guest agent: %w", err)
	}
	a.seen, a.digest = stamp, hex.EncodeToString(hash.Sum(nil))
	return a.digest, nil
}

// open opens the agent that has the given digest, and returns its size.
func (a *agentFile) open(sum string) (*os.File, int64, error) {
	f, stamp, err := a.openFile()
	if err != nil {
		return nil, 0, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.digest != sum || a.seen != stamp {
		_ = f.Close()
		return nil, 0, errdefs.WithHint(
			errdefs.New(errdefs.ErrUnavailable, "the guest agent %s is being replaced", a.path), "try again")
	}
	return f, stamp.size, nil
}

func (a *agentFile) openFile() (*os.File, fileStamp, error) {
	f, err := os.Open(a.path)
	if errors.Is(err, fs.ErrNotExist) || a.path == "" {
		return nil, fileStamp{}, errdefs.WithHint(
			errdefs.New(errdefs.ErrUnavailable, "the guest agent is not at %q", a.path),
			"banger-agent belongs next to banger; install both, or set `agent` in the configuration")
	}
	if err != nil {
		return nil, fileStamp{}, errdefs.New(errdefs.ErrUnavailable, "open the guest agent: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", a.path)
	}
	if err != nil {
		_ = f.Close()
		return nil, fileStamp{}, errdefs.New(errdefs.ErrUnavailable, "open the guest agent: %w", err)
	}
	return f, stampOf(info), nil
}
