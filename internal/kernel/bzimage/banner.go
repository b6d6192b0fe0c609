package bzimage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxVersion is the longest version, as the kernel's own __NEW_UTS_LEN has it.
const maxVersion = 64

var bannerPrefix = []byte("Linux version ")

// banner finds the kernel's linux_banner, "Linux version <version> (<builder>) ...", and returns the version.
func banner(r io.Reader) (string, error) {
	const overlap = 128 // more than a banner's prefix and version
	buf := make([]byte, 1<<20)
	kept := 0
	for {
		n, err := io.ReadFull(r, buf[kept:])
		window := buf[:kept+n]
		if v := versionIn(window); v != "" {
			return v, nil
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return "", errors.New("the vmlinux does not tell its version: it is no Linux kernel")
		}
		if err != nil {
			return "", fmt.Errorf("read the vmlinux: %w", err)
		}
		kept = copy(buf, window[len(window)-overlap:])
	}
}

func versionIn(window []byte) string {
	for {
		at := bytes.Index(window, bannerPrefix)
		if at < 0 {
			return ""
		}
		window = window[at+len(bannerPrefix):]
		if end := bytes.IndexByte(window, ' '); end > 0 && end <= maxVersion && ValidVersion(string(window[:end])) {
			return string(window[:end])
		}
	}
}

// ValidVersion reports whether v can be a kernel's version: it begins with a digit and is safe as a file's name.
func ValidVersion(v string) bool {
	if v == "" || len(v) > maxVersion || v[0] < '0' || v[0] > '9' {
		return false
	}
	for _, c := range []byte(v) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '.', c == '_', c == '-', c == '+', c == '~':
		default:
			return false
		}
	}
	return true
}
