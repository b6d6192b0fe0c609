package hostcache

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestGet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "by", "it")
	calls := 0
	find := func() (int, error) { calls++; return 40 + calls, nil }
	get := func(key string, want, wantCalls int) {
		t.Helper()
		got, err := Get(dir, key, find)
		if err != nil || got != want || calls != wantCalls {
			t.Errorf("%s: got %d, %v after %d calls; want %d after %d", key, got, err, calls, want, wantCalls)
		}
	}
	get("a", 41, 1)
	get("a", 41, 1)
	get("b", 42, 2)
	files, err := filepath.Glob(dir + "/*")
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	for name, text := range map[string]string{
		"empty": "", "broken": "{", "another boot": `{"boot":"x","key":"a","value":1}`, "another type": `{"value":"x"}`,
	} {
		calls = 0
		for _, f := range files {
			if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		get("a", 41, 1)
		if t.Failed() {
			t.Fatalf("with a file that is %s", name)
		}
	}
}

func TestGetKeepsNoErrors(t *testing.T) {
	dir, fault := t.TempDir(), errors.New("fault")
	if _, err := Get(dir, "a", func() (int, error) { return 0, fault }); !errors.Is(err, fault) {
		t.Errorf("got %v", err)
	}
	if got, err := Get(dir, "a", func() (int, error) { return 1, nil }); got != 1 || err != nil {
		t.Errorf("got %d, %v", got, err)
	}
}

func TestGetWithoutADirectory(t *testing.T) {
	for name, dir := range map[string]string{"none": "", "impossible": "/dev/null/x"} {
		if got, err := Get(dir, "a", func() (int, error) { return 1, nil }); got != 1 || err != nil {
			t.Errorf("%s: got %d, %v", name, got, err)
		}
	}
}
