package unixsock

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDetachedSocketIsNeverWithoutListener(t *testing.T) {
	path := filepath.Join(t.TempDir(), strings.Repeat("d", 100), "s.sock")
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := Detach(l)
	if err != nil {
		t.Fatal(err)
	}
	early, err := Dial(t.Context(), path) // before anybody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	l, err = Attach(file, path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestDetachedSocketOfADeadProcessRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := Detach(l)
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	if _, err := Dial(t.Context(), path); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("Dial = %v, want connection refused", err)
	}
	if l, err = Listen(path); err != nil {
		t.Fatalf("Listen does not replace it: %v", err)
	}
	_ = l.Close()
}
