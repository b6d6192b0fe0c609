package logfile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var opened int
	f, err := Open(path, 100, func(*os.File) { opened++ })
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if _, err := fmt.Fprintf(f, "line %02d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var total int64
	for _, name := range []string{path, path + ".1"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 100 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %d bytes, mode %v", name, info.Size(), info.Mode())
		}
		total += info.Size()
	}
	var all strings.Builder
	if err := Copy(&all, path, -1); err != nil {
		t.Fatal(err)
	}
	if int64(all.Len()) != total || !strings.HasSuffix(all.String(), "line 48\nline 49\n") || opened < 4 {
		t.Errorf("read %d of %d bytes, opened %d times: %q", all.Len(), total, opened, all.String())
	}
	if _, err := f.Write([]byte("x")); err == nil {
		t.Error("a closed log takes writes")
	}
}

func TestCopyLastLines(t *testing.T) {
	long := strings.Repeat("x", 70<<10)
	tests := map[string]struct {
		older, current string
		lines          int
		want           string
	}{
		"none wanted":         {"a\n", "b\n", 0, ""},
		"all":                 {"a\n", "b\n", -1, "a\nb\n"},
		"one":                 {"a\n", "b\nc\n", 1, "c\n"},
		"without newline":     {"a\n", "b\nc", 1, "c"},
		"across generations":  {"a\nb\n", "c\n", 2, "b\nc\n"},
		"line over the break": {"a\nb", "c\nd\n", 2, "bc\nd\n"},
		"more than there are": {"a\n", "b\n", 9, "a\nb\n"},
		"longer than a block": {"a\n", long + "\nb\n", 2, long + "\nb\n"},
		"empty lines":         {"", "a\n\n\n", 2, "\n\n"},
		"current empty":       {"a\nb\n", "", 1, "b\n"},
		"break at newline":    {"a\nb", "\nc\n", 2, "b\nc\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			for file, text := range map[string]string{path + ".1": tt.older, path: tt.current} {
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var got strings.Builder
			if err := Copy(&got, path, tt.lines); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
	if err := Copy(&strings.Builder{}, filepath.Join(t.TempDir(), "none"), 3); err != nil {
		t.Errorf("no log: %v", err)
	}
}
