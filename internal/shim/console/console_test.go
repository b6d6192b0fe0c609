package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T) *Console {
	t.Helper()
	c, err := Open(filepath.Join(t.TempDir(), "console.log"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.End() })
	return c
}

func TestFollowGetsEachByteOnce(t *testing.T) {
	c := open(t)
	_, _ = io.WriteString(c, "before\n")
	var got bytes.Buffer
	started, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- c.Copy(t.Context(), writerFunc(func(p []byte) (int, error) {
			if got.Len() == 0 {
				close(started)
			}
			return got.Write(p)
		}), -1, true)
	}()
	<-started
	want := "before\n"
	for i := range 200 {
		line := fmt.Sprintf("line %d\n", i)
		want += line
		_, _ = io.WriteString(c, line)
	}
	if err := c.End(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Error(diff)
	}
}

func TestSlowFollowerIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t)
		stuck := make(chan struct{})
		var got bytes.Buffer
		done := make(chan error, 1)
		go func() {
			done <- c.Copy(t.Context(), writerFunc(func(p []byte) (int, error) {
				<-stuck
				return got.Write(p)
			}), 0, true)
		}()
		synctest.Wait()
		block := bytes.Repeat([]byte("x"), 64<<10)
		for range 100 { // must not wait for the follower
			_, _ = c.Write(block)
		}
		close(stuck)
		if err := <-done; !errors.Is(err, ErrLeftBehind) {
			t.Errorf("Copy = %v, want ErrLeftBehind", err)
		}
		if got.Len() > 2*pendingSize+100 || !strings.Contains(got.String(), "left out") {
			t.Errorf("%d bytes, without a note: %t", got.Len(), !strings.Contains(got.String(), "left out"))
		}
	})
}

func TestFollowEndsWithItsContext(t *testing.T) {
	c := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Copy(ctx, io.Discard, -1, true) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Copy = %v", err)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	c := open(t)
	for i := range 20000 {
		_, _ = fmt.Fprintf(c, "line %d\n", i)
	}
	if len(c.memory) > memorySize {
		t.Errorf("%d bytes remembered", len(c.memory))
	}
	if diff := cmp.Diff([]string{"line 19998", "line 19999"}, c.Lines(2)); diff != "" {
		t.Error(diff)
	}
}

func TestLines(t *testing.T) {
	tests := map[string]struct {
		text string
		n    int
		want []string
	}{
		"empty":           {"", 5, nil},
		"fewer":           {"a\nb\n", 5, []string{"a", "b"}},
		"last":            {"a\nb\nc", 2, []string{"b", "c"}},
		"serial line end": {"a\r\nb\r\n", 5, []string{"a", "b"}},
		"empty left out":  {"a\n\n\n\nb\n\n", 2, []string{"a", "b"}},
		"escape":          {"\x1b[0;1;31mred\x1b[0m\x07\n", 1, []string{"red"}},
		"not text":        {"a\xff\x00b\n", 1, []string{"a\uFFFDb"}},
		"cut escape":      {"ab\x1b[12\n", 1, []string{"ab"}},
		"very long":       {strings.Repeat("y", 5000), 1, []string{strings.Repeat("y", maxLine)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Lines([]byte(tt.text), tt.n)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLinesOfAPanic(t *testing.T) {
	c := open(t)
	_, _ = io.WriteString(c, "a\nb\n[1.0] Kernel panic - not syncing: no init\r\n[1.1] trace\n[1.2] trace\n")
	if diff := cmp.Diff([]string{"b", "[1.0] Kernel panic - not syncing: no init"}, c.Lines(2)); diff != "" {
		t.Error(diff)
	}
}

func TestPanic(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"none": {"[    1.0] all is well\n", ""},
		"init": {
			"[    1.2] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\r\n[    1.3] CPU: 0\r\n",
			"Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
		},
		"last": {"Kernel panic - not syncing: one\nKernel panic - not syncing: two", "Kernel panic - not syncing: two"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Panic([]byte(tt.text)); got != tt.want {
				t.Errorf("Panic = %q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\n\x1b[31mb\x1b"), 3)
	f.Fuzz(func(t *testing.T, text []byte, n int) {
		for _, line := range Lines(text, n) {
			if line == "" || len(line) > 3*maxLine || strings.ContainsAny(line, "\x1b\n\r\x00\x7f") {
				t.Errorf("line %q", line)
			}
		}
		Panic(text)
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
