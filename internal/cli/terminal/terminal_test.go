package terminal

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/creack/pty"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What is typed after the session has ended is left for whoever reads next.
func TestInputLeavesTheRest(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	in, err := NewInput(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	_, _ = io.WriteString(w, "first")
	if n, err := in.Read(buf); err != nil || string(buf[:n]) != "first" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := in.Read(make([]byte, 16))
		ended <- err
	}()
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("a read that was given up: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the read goes on")
	}
	_, _ = io.WriteString(w, "rest")
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if n, err := r.Read(buf); err != nil || string(buf[:n]) != "rest" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

func TestInputEnds(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	in, err := NewInput(t.Context(), null)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("%v, want EOF", err)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
}

func TestRawIsRestored(t *testing.T) {
	master, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer tty.Close()
	if err := pty.Setsize(master, &pty.Winsize{Rows: 7, Cols: 70}); err != nil {
		t.Fatal(err)
	}
	if rows, cols, ok := Size(tty); rows != 7 || cols != 70 || !ok {
		t.Errorf("size %d %d %v", rows, cols, ok)
	}
	raw, err := MakeRaw(tty)
	if err != nil {
		t.Fatal(err)
	}
	raw.Again()
	raw.Restore()
	raw.Restore()
	_, _ = io.WriteString(master, "line\n")
	buf := make([]byte, 16)
	if n, err := tty.Read(buf); err != nil || string(buf[:n]) != "line\n" { // whole lines again
		t.Errorf("%q, %v", buf[:n], err)
	}
}

func TestStyle(t *testing.T) {
	if got := (Style{colour: true}).Good("ok"); got != "\x1b[32mok\x1b[0m" {
		t.Errorf("%q", got)
	}
	if got := StyleOf(os.NewFile(^uintptr(0), "none")).Bad("x"); got != "x" {
		t.Errorf("%q", got)
	}
}
