package ext4

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRemoveOlder(t *testing.T) {
	old := []string{"d/a", "d/e/b", "d/e/c", "f"}
	for name, test := range map[string]struct {
		young  []string
		path   string
		inside bool
		want   []string
	}{
		"a file":                       {nil, "f", false, []string{"d", "d/a", "d/e", "d/e/b", "d/e/c"}},
		"a directory":                  {nil, "d", false, []string{"f"}},
		"inside a directory":           {nil, "d", true, []string{"d", "f"}},
		"inside a file":                {nil, "f", true, []string{"d", "d/a", "d/e", "d/e/b", "d/e/c", "f"}},
		"nothing":                      {nil, "d/x/y", false, []string{"d", "d/a", "d/e", "d/e/b", "d/e/c", "f"}},
		"below a file":                 {nil, "f/x", false, []string{"d", "d/a", "d/e", "d/e/b", "d/e/c", "f"}},
		"a replaced file":              {[]string{"f"}, "f", false, []string{"d", "d/a", "d/e", "d/e/b", "d/e/c", "f"}},
		"around what is young":         {[]string{"d/e/b", "d/n/m"}, "d", false, []string{"d", "d/e", "d/e/b", "d/n", "d/n/m", "f"}},
		"around what is young, inside": {[]string{"d/e/n"}, "d", true, []string{"d", "d/e", "d/e/n", "f"}},
		"everything":                   {nil, "", true, nil},
		"everything but one":           {[]string{"d/e/n"}, "", false, []string{"d", "d/e", "d/e/n"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newImage(t)
			w, err := NewWriter(f, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range old {
				mustAdd(t, w, Entry{Path: p}, "old")
			}
			w.NextLayer()
			for _, p := range test.young {
				mustAdd(t, w, Entry{Path: p}, "young")
			}
			for range 2 { // the second time changes nothing
				if err := w.RemoveOlder(test.path, test.inside); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, paths(t, w, "")); diff != "" {
					t.Errorf("left (-want +got):\n%s", diff)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			fsck(t, f.Name())
		})
	}
}

// paths returns all that is below path.
func paths(t *testing.T, w *Writer, path string) []string {
	t.Helper()
	names, err := w.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, name := range names {
		p := name
		if path != "" {
			p = path + "/" + name
		}
		out = append(out, p)
		if kind, _ := w.Type(p); kind == Directory {
			out = append(out, paths(t, w, p)...)
		}
	}
	return out
}

func TestInodeBound(t *testing.T) {
	w, err := NewWriter(newImage(t), Options{Inodes: 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(Entry{Path: "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p"}, nil); err == nil {
		t.Error("more inodes than the bound")
	}
}
