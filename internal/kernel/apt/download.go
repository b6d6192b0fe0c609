package apt

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/op"
)

// grace is how long a tool's children may hold its pipes after it was killed.
const grace = 5 * time.Second

// Download fetches the package's file into dir, an empty directory, and returns its path.
func Download(ctx context.Context, p Package, dir string) (path string, err error) {
	stage := op.Begin(ctx, "download", p.String())
	stage.Total(p.Size)
	defer func() { err = stage.End(err) }()

	status, statusEnd, err := os.Pipe()
	if err != nil {
		return "", fmt.Errorf("download %s: %w", p, err)
	}
	defer status.Close()
	// The sandbox of apt is a user of its own, which may not write to our directory; the option only has a meaning
	// when root runs this. Nobody can answer a question: a package that apt cannot authenticate is refused.
	cmd := command(ctx, dir, "apt-get", "download", "-q",
		"-o", "APT::Sandbox::User=root", "-o", "APT::Get::AllowUnauthenticated=false",
		"-o", "Acquire::Retries=3", "-o", "APT::Status-Fd=3", "--", p.String())
	cmd.ExtraFiles = []*os.File{statusEnd}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err = cmd.Start()
	_ = statusEnd.Close()
	if err != nil {
		return "", fmt.Errorf("download %s: %w", p, err)
	}
	follow(status, stage, p.Size)
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		return "", errdefs.WithHint(
			errdefs.New(errdefs.ErrUnavailable, "download %s with apt: %s", p, lastLine(stderr.Bytes(), err)),
			"check the network; run `sudo apt-get update` if the archive no longer has this version")
	}
	path, err = only(dir)
	if err != nil {
		return "", fmt.Errorf("download %s: %w", p, err)
	}
	return path, verify(path, p)
}

// follow reports progress from apt's status lines, "dlstatus:<item>:<percent>:<text>", until apt closes the pipe.
func follow(status io.Reader, stage *op.Stage, size int64) {
	var done int64
	s := bufio.NewScanner(status)
	for s.Scan() {
		fields := strings.SplitN(s.Text(), ":", 4)
		if len(fields) < 4 || fields[0] != "dlstatus" {
			continue
		}
		percent, err := strconv.ParseFloat(fields[2], 64)
		if now := int64(percent / 100 * float64(size)); err == nil && now > done && now <= size {
			stage.Add(now - done)
			done = now
		}
	}
	_, _ = io.Copy(io.Discard, status) // after a line too long, so that apt never waits for us
	stage.Add(size - done)
}

// only returns the one .deb in dir.
func only(dir string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("apt left %d packages instead of one", len(found))
	}
	return found[0], nil
}

// verify compares the file with apt's lists. apt has done so already; this makes sure that it is the file that we asked
// for, also when it came from another place than an archive.
func verify(path string, p Package) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("verify %s: %w", p, err)
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, f); err != nil {
		return fmt.Errorf("verify %s: %w", p, err)
	}
	if sum := hex.EncodeToString(hash.Sum(nil)); sum != p.SHA256 {
		return errdefs.New(errdefs.ErrUnavailable, "verify %s: its sha256 is %s, apt's lists say %q", p, sum, p.SHA256)
	}
	return nil
}

// command prepares a tool that speaks English, asks nothing and dies with its children when ctx ends.
func command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	cmd.WaitDelay = grace
	return cmd
}

// lastLine is the end of what a tool said, or how it ended when it said nothing.
func lastLine(stderr []byte, err error) string {
	lines := strings.Split(strings.TrimSpace(string(stderr)), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return last
	}
	return err.Error()
}
