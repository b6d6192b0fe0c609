package recipe

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/op"
	"github.com/banger-dev/banger/internal/userns"
)

func script(ctx context.Context, t *testing.T, text string) *process {
	t.Helper()
	if err := userns.Check(ctx); err != nil {
		t.Skipf("%v (%s)", err, errdefs.Hint(err))
	}
	p, err := startProcess(ctx, userns.Command(ctx, "sh", "-c", text), newProgress(ctx, "test"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestProcess(t *testing.T) {
	for _, c := range []struct {
		name, script string
		out          string
		class        error
		text         string // of Close
	}{
		{name: "success", script: "echo archive", out: "archive\n"},
		{
			name: "failure", script: "echo half; printf 'I: installing\nE: one\nE: two' >&2; exit 3", out: "half\n",
			text: "mmdebstrap: exit status 3: E: one; E: two",
		},
		{
			name: "failure without words", script: "exit 3", text: "mmdebstrap: exit status 3",
		},
		{
			name: "full disk", script: "echo 'tar: write: No space left on device' >&2; exit 1", class: errdefs.ErrExhausted,
			text: "mmdebstrap: exit status 1: tar: write: No space left on device",
		},
		{
			name: "no network", script: "echo 'E: apt-get update failed' >&2; exit 1", class: errdefs.ErrUnavailable,
			text: "mmdebstrap: exit status 1: E: apt-get update failed",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := script(t.Context(), t, c.script)
			out, err := io.ReadAll(p)
			if string(out) != c.out || err != nil {
				t.Errorf("read %q, %v", out, err)
			}
			err = p.Close()
			if (err == nil) != (c.text == "") || (err != nil && err.Error() != c.text) {
				t.Errorf("got %v, want %s", err, c.text)
			}
			if c.class == nil && errdefs.Class(err) != nil {
				t.Errorf("class %v", errdefs.Class(err))
			}
			if c.class != nil && (!errors.Is(err, c.class) || errdefs.Hint(err) == "") {
				t.Errorf("class %v, hint %q", errdefs.Class(err), errdefs.Hint(err))
			}
		})
	}
}

func TestProcessBrokenOff(t *testing.T) {
	p := script(t.Context(), t, "while :; do echo more; done")
	if _, err := io.ReadFull(p, make([]byte, 100)); err != nil {
		t.Error(err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestProcessCancelled(t *testing.T) {
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	p := script(ctx, t, "echo begun; setsid sleep 1000 & sleep 1000")
	if _, err := io.ReadFull(p, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	cancel(why)
	began := time.Now()
	if _, err := io.ReadAll(p); !errors.Is(err, why) {
		t.Errorf("read: %v", err)
	}
	if err := p.Close(); !errors.Is(err, why) {
		t.Errorf("close: %v", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestConfined(t *testing.T) {
	if err := userns.Check(t.Context()); err != nil {
		t.Skipf("%v (%s)", err, errdefs.Hint(err))
	}
	dir := t.TempDir()
	var out strings.Builder
	const text = `touch here && ! touch /usr/banger-test && stat -f -c %i . / | sort | uniq | wc -l && pwd && echo "$1"`
	c := userns.Command(t.Context(), "sh", "-c", confined, "sh", dir, "sh", "-c", text, "sh", "an argument")
	c.Stdout = &out
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(out.String(), dir+"\nan argument\n") {
		t.Errorf("got %q", out.String())
	}
}

func TestProgress(t *testing.T) {
	var stages []string
	ctx, o := op.Start(t.Context(), slog.New(slog.DiscardHandler), "image build", "test", func(e op.Event) {
		if e.Ended {
			stages = append(stages, e.Stage)
		}
	})
	p := newProgress(ctx, "test")
	for _, text := range []string{
		"I: automatically chosen format: tar\nI: running apt-", "get update...\ndone\nI: downloading packages with apt...\r\n",
		strings.Repeat("x", 5000) + "\n", "E: " + strings.Repeat("y", 10) + "\n" + strings.Repeat("z\n", 30),
		"I: creating tarball...\nI: done\nlast",
	} {
		if n, err := io.WriteString(p, text); n != len(text) || err != nil {
			t.Errorf("write: %d, %v", n, err)
		}
	}
	if len(p.last) != maxLines {
		t.Errorf("%d lines are kept", len(p.last))
	}
	err := p.explain(errors.New("exit status 1"))
	if want := "mmdebstrap: exit status 1: z; z; z; last"; err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	p.end(nil)
	o.End(nil)
	if diff := cmp.Diff([]string{"read package lists", "download packages", "pack"}, stages); diff != "" {
		t.Error(diff)
	}
}

func TestProgressBoundsLines(t *testing.T) {
	p := newProgress(t.Context(), "test")
	for range 100 {
		if _, err := io.WriteString(p, strings.Repeat("x", 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if len(p.line) > maxLine {
		t.Errorf("a line of %d bytes is kept", len(p.line))
	}
}
