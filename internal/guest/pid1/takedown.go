package pid1

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/banger-dev/banger/internal/guest/boot"
)

const (
	termGrace = 10 * time.Second // between SIGTERM and SIGKILL; most machines have nothing left long before
	killGrace = 2 * time.Second  // a process in the kernel does not even mind SIGKILL
)

// takeDown ends every process and the machine, with everything written out.
func takeDown(how int, children <-chan os.Signal, log *slog.Logger) error {
	unix.Sync() // whatever happens to the rest
	// Shells in a terminal mind SIGHUP only, and a stopped process minds nothing before SIGCONT.
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGCONT} {
		_ = syscall.Kill(-1, s) // ESRCH: there is nobody else
	}
	if !awaitAll(children, termGrace) {
		log.Warn("processes do not end", "after", termGrace)
		_ = syscall.Kill(-1, syscall.SIGKILL)
		awaitAll(children, killGrace)
	}
	unix.Sync()
	for _, err := range unmountAll() {
		log.Warn("take the machine down", "error", err)
	}
	unix.Sync()
	if err := unix.Reboot(how); err != nil {
		return fmt.Errorf("end the machine: %w", err)
	}
	return nil
}

// awaitAll reaps until this process is alone. Every process becomes PID 1's child at the latest when its parent ends.
func awaitAll(children <-chan os.Signal, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		if !reap(func(int, syscall.WaitStatus) {}) {
			return true
		}
		select {
		case <-children:
		case <-timer.C:
			return false
		}
	}
}

// unmountAll unmounts what can be and makes the rest read-only, the disk below the root file system last.
func unmountAll() (errs []error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return []error{err}
	}
	defer f.Close()
	points, err := mountPoints(bufio.NewScanner(f))
	if err != nil {
		errs = append(errs, err)
	}
	slices.Reverse(points) // later ones may be on earlier ones
	for _, p := range points {
		if p == "/" || isKernels(p) {
			continue
		}
		if err := unix.Unmount(p, 0); err != nil {
			errs = append(errs, fmt.Errorf("unmount %s: %w", p, err))
		}
	}
	for _, p := range []string{"/", boot.OverlayDir} {
		if err := unix.Mount("", p, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			errs = append(errs, fmt.Errorf("make %s read-only: %w", p, err))
		}
	}
	return errs
}

// isKernels tells whether p is one of the kernel's own file systems, which hold nothing.
func isKernels(p string) bool {
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run"} {
		if p == dir || strings.HasPrefix(p, dir+"/") {
			return true
		}
	}
	return false
}

var errMountInfo = errors.New("malformed mountinfo line")

// mountPoints reads proc_pid_mountinfo(5), in which mounts are in the order in which they were made.
func mountPoints(s *bufio.Scanner) ([]string, error) {
	var points []string
	var err error
	for s.Scan() {
		fields := strings.Fields(s.Text())
		if len(fields) < 5 {
			err = fmt.Errorf("%w: %q", errMountInfo, s.Text())
			continue
		}
		points = append(points, unescape(fields[4]))
	}
	return points, errors.Join(err, s.Err())
}

// unescape undoes the octal escapes of white space and backslashes.
func unescape(s string) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 || len(s) < i+4 {
			return b.String() + s
		}
		n, err := strconv.ParseUint(s[i+1:i+4], 8, 8)
		if err != nil {
			b.WriteString(s[:i+1])
			s = s[i+1:]
			continue
		}
		b.WriteString(s[:i])
		b.WriteByte(byte(n))
		s = s[i+4:]
	}
}
