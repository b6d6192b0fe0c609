package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnvironment(t *testing.T) {
	t.Setenv("BANGER_TEST_OURS", "a b")
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("# comment\n\n FROM=file \nBANGER_TEST_OURS\nBANGER_TEST_UNSET\nQUOTED=\"kept as it is\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := environment([]string{"A=1=2", "EMPTY=", "BANGER_TEST_OURS", "BANGER_TEST_UNSET"}, []string{file})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"FROM=file", "BANGER_TEST_OURS=a b", `QUOTED="kept as it is"`, "A=1=2", "EMPTY=", "BANGER_TEST_OURS=a b"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"", "=x", "A B=x", "A\x00=x", "A=\x00"} {
		_, err := environment([]string{bad}, nil)
		var usage *usageError
		if !errors.As(err, &usage) {
			t.Errorf("%q: %v, want bad usage", bad, err)
		}
	}
}

// An error says operation and subject once, whether or not its cause does.
func TestFailureText(t *testing.T) {
	for _, test := range []struct{ operation, subject, cause, want string }{
		{"vm stop", "web", "it is paused", "vm stop web: it is paused"},
		{"vm stop", "web", "stop vm web: it is paused", "stop vm web: it is paused"},
		{"vm stop", "web", `vm "web" not found`, `vm stop web: vm "web" not found`},
		{"vm list", "", "call the daemon: connection refused", "vm list: call the daemon: connection refused"},
	} {
		if got := fail(test.operation, test.subject, errors.New(test.cause)).Error(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

// Text of unknown origin does not steer the terminal.
func TestPrintable(t *testing.T) {
	if got := printable("a\x1b[2J\tb\nc\u009b\x7f\n"); got != "a?[2J\tb\nc??" {
		t.Errorf("%q", got)
	}
}

func TestBrief(t *testing.T) {
	for source, want := range map[string]string{
		"":              "",
		"build:minimal": "build:minimal",
		"apt:linux-image-6.1.0-56-cloud-amd64=6.1.192-2 sha256:e7d0": "apt:linux-image-6.1.0-56-cloud-amd64=...",
		"docker.io/library/alpine@sha256:e7d0":                       "docker.io/library/alpine",
	} {
		if got := brief(source); got != want {
			t.Errorf("brief(%q) = %q, want %q", source, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	out := &strings.Builder{}
	tab := table{header: []string{"NAME", "STATE", "N"}}
	tab.add("ü", "\x1b[32mrunning\x1b[0m", "1")
	tab.add("longer", "x", "")
	if err := tab.print(out); err != nil {
		t.Fatal(err)
	}
	want := "NAME    STATE    N\nü       \x1b[32mrunning\x1b[0m  1\nlonger  x        \n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}
