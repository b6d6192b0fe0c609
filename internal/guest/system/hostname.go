package system

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func setHostname(name string) error {
	if name == "" {
		return nil
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return err
	}
	if err := replace("/etc/hostname", []byte(name+"\n")); err != nil {
		return err
	}
	old, err := os.ReadFile("/etc/hosts")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return replace("/etc/hosts", hosts(old, name))
}

// hosts returns the hosts(5) file old with name on 127.0.1.1, as Debian has it, and with localhost.
func hosts(old []byte, name string) []byte {
	var b bytes.Buffer
	v4, v6 := false, false
	s := bufio.NewScanner(bytes.NewReader(old))
	s.Buffer(nil, len(old)+1) // its lines are as long as they are
	for s.Scan() {
		line := s.Text()
		address, _, _ := strings.Cut(strings.ReplaceAll(strings.TrimSpace(line), "\t", " "), " ")
		switch address {
		case "127.0.1.1":
			continue
		case "127.0.0.1":
			v4 = true
		case "::1":
			v6 = true
		}
		b.WriteString(line + "\n")
	}
	if !v4 {
		b.WriteString("127.0.0.1\tlocalhost\n")
	}
	if !v6 {
		b.WriteString("::1\tlocalhost ip6-localhost ip6-loopback\n")
	}
	fmt.Fprintf(&b, "127.0.1.1\t%s\n", name)
	return b.Bytes()
}

// replace writes a file of /etc so that readers see the old one or the new. A link there is replaced, not followed:
// where it leads to belongs to a service that does not run here. What is right already is left alone.
func replace(file string, content []byte) error {
	info, err := os.Lstat(file)
	if err == nil && info.Mode().IsRegular() {
		if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, content) {
			return nil
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	fresh := file + ".banger"
	if err := os.WriteFile(fresh, content, 0o644); err != nil {
		return err
	}
	return os.Rename(fresh, file)
}
