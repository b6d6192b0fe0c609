package userns

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
)

// subRange is a range of ids that a user may use in user namespaces.
type subRange struct{ start, count uint64 }

// subordinate finds what the caller may map. It is nil for root, who needs no user namespace.
func subordinate() (*mapping, error) {
	if os.Geteuid() == 0 {
		return nil, nil
	}
	m := &mapping{}
	for _, h := range []struct {
		path *string
		name string
	}{{&m.newuidmap, "newuidmap"}, {&m.newgidmap, "newgidmap"}} {
		path, err := exec.LookPath(h.name)
		if err != nil {
			return nil, errdefs.WithHint(errdefs.New(errdefs.ErrUnavailable, "run without root: %w", err),
				"install the package uidmap")
		}
		*h.path = path
	}
	self, err := user.Current()
	if err != nil {
		return nil, fmt.Errorf("run without root: %w", err)
	}
	for _, f := range []struct {
		r    *subRange
		path string
	}{{&m.uids, "/etc/subuid"}, {&m.gids, "/etc/subgid"}} {
		r, err := readSubRange(f.path, self.Username, self.Uid)
		if err != nil {
			return nil, errdefs.WithHint(err, "run: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s, "+
				"with ranges that nobody in /etc/subuid has", self.Username)
		}
		*f.r = r
	}
	return m, nil
}

func readSubRange(path, name, uid string) (subRange, error) {
	f, err := os.Open(path)
	if err != nil {
		return subRange{}, errdefs.New(errdefs.ErrUnavailable, "run without root: %w", err)
	}
	defer func() { _ = f.Close() }() // read-only
	r, err := parseSubRange(f, name, uid)
	if err != nil {
		return subRange{}, errdefs.New(errdefs.ErrUnavailable, "run without root: %s: %w", path, err)
	}
	return r, nil
}

// parseSubRange returns the first range of at least ids that subuid(5)'s lines give to the user.
func parseSubRange(r io.Reader, name, uid string) (subRange, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Split(strings.TrimSpace(lines.Text()), ":")
		if len(fields) != 3 || (fields[0] != name && fields[0] != uid) {
			continue
		}
		start, err1 := strconv.ParseUint(fields[1], 10, 32)
		count, err2 := strconv.ParseUint(fields[2], 10, 32)
		if err1 == nil && err2 == nil && count >= ids {
			return subRange{start, count}, nil
		}
	}
	if err := lines.Err(); err != nil {
		return subRange{}, err
	}
	return subRange{}, fmt.Errorf("no range of %d ids for user %s", ids, name)
}
