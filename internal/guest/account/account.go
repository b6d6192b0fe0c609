// Package account looks up users and groups in the text files of the system that it runs in, as login would, without
// the C library that images may not have.
package account

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// User is whom a process runs as.
type User struct {
	Name   string // empty when the uid has no entry
	UID    uint32
	GID    uint32
	Groups []uint32 // supplementary
	Home   string
	Shell  string
}

// ErrUnknown is the cause when a name is in neither file.
var ErrUnknown = errors.New("no such name in the guest")

// Database names the two files. Either may be missing.
type Database struct{ Passwd, Group string }

// System is the database of the running system.
var System = Database{Passwd: "/etc/passwd", Group: "/etc/group"}

// Lookup resolves "name", "uid", "name:group" or "uid:gid" in any mixture. The empty string is root. A number needs
// no entry. An explicit group replaces the supplementary ones, as in OCI runtimes.
func (d Database) Lookup(spec string) (User, error) {
	name, group, explicit := strings.Cut(spec, ":")
	u, err := d.user(name)
	if err != nil {
		return User{}, fmt.Errorf("look up user %q: %w", name, err)
	}
	if explicit && group != "" {
		gid, err := d.group(group)
		if err != nil {
			return User{}, fmt.Errorf("look up group %q: %w", group, err)
		}
		u.GID = gid
		return u, nil
	}
	if u.Groups, err = d.memberships(u.Name); err != nil {
		return User{}, fmt.Errorf("look up groups of %q: %w", name, err)
	}
	return u, nil
}

func (d Database) user(name string) (User, error) {
	if name == "" {
		name = "0"
	}
	uid, isNumber := number(name)
	var found *User
	err := eachLine(d.Passwd, 7, func(f []string) bool {
		id, ok := number(f[2])
		gid, gok := number(f[3])
		if !ok || !gok || (f[0] != name && (!isNumber || id != uid)) {
			return true
		}
		found = &User{Name: f[0], UID: id, GID: gid, Home: f[5], Shell: f[6]}
		return false
	})
	switch {
	case err != nil:
		return User{}, err
	case found != nil:
		return withDefaults(*found), nil
	case name == "root":
		return withDefaults(User{}), nil
	case isNumber:
		return withDefaults(User{UID: uid}), nil
	}
	return User{}, ErrUnknown
}

// withDefaults fills in what an entry leaves empty, or what root has in an image without a passwd file.
func withDefaults(u User) User {
	if u.UID == 0 && u.Name == "" {
		u.Name, u.Home = "root", "/root"
	}
	if u.Home == "" {
		u.Home = "/"
	}
	if u.Shell == "" {
		u.Shell = "/bin/sh"
	}
	return u
}

func (d Database) group(name string) (gid uint32, err error) {
	gid, isNumber := number(name)
	found := isNumber
	err = eachLine(d.Group, 3, func(f []string) bool {
		id, ok := number(f[2])
		if !ok || f[0] != name {
			return true
		}
		gid, found = id, true
		return false
	})
	if err == nil && !found {
		err = ErrUnknown
	}
	return gid, err
}

// memberships returns the groups that list name as a member.
func (d Database) memberships(name string) ([]uint32, error) {
	if name == "" {
		return nil, nil
	}
	var gids []uint32
	err := eachLine(d.Group, 4, func(f []string) bool {
		id, ok := number(f[2])
		for _, member := range strings.Split(f[3], ",") {
			if ok && member == name {
				gids = append(gids, id)
				break
			}
		}
		return true
	})
	return gids, err
}

// number reads an id as the kernel knows them; the highest value means "no id".
func number(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n < 1<<32-1
}

// eachLine calls f with the colon-separated fields of each line that has at least want of them, until f returns false.
func eachLine(path string, want int, f func(fields []string) bool) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	return eachField(file, want, f)
}

func eachField(r io.Reader, want int, f func(fields []string) bool) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20) // groups may have very many members
	for s.Scan() {
		line := strings.TrimSpace(s.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if fields := strings.Split(line, ":"); len(fields) >= want && !f(fields) {
			return nil
		}
	}
	return s.Err()
}
