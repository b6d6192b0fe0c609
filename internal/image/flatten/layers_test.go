package flatten

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/internal/errdefs"
)

func readers(t testing.TB, layers ...[]item) []io.Reader {
	t.Helper()
	var out []io.Reader
	for _, items := range layers {
		out = append(out, bytes.NewReader(archive(t, items...)))
	}
	return out
}

func TestLayers(t *testing.T) {
	empty := []string{"/ dir"}
	for name, test := range map[string]struct {
		layers   [][]item
		rootfs   []string // without /root
		seed     []string
		warnings int
	}{
		"a whiteout hides a file": {
			layers: [][]item{{file("a", "1"), file("b", "1")}, {file(".wh.a", "")}},
			rootfs: []string{"/ dir", "/b = 1"},
		},
		"a whiteout hides a directory": {
			layers: [][]item{{file("d/e/a", "1"), file("b", "1")}, {file(".wh.d", "")}},
			rootfs: []string{"/ dir", "/b = 1"},
		},
		"a whiteout of nothing": {
			layers: [][]item{{file("b", "1")}, {file("x/.wh.y", ""), file("b/.wh.y", ""), file(".wh.z", "")}},
			rootfs: []string{"/ dir", "/b = 1"},
		},
		"a whiteout hides nothing of its own layer, before or after": {
			layers: [][]item{{file("a", "1"), file("b", "1")}, {file("a", "2"), file(".wh.a", ""), file(".wh.b", ""), file("b", "2")}},
			rootfs: []string{"/ dir", "/a = 2", "/b = 2"},
		},
		"a whiteout of a directory with something new in it": {
			layers: [][]item{{file("d/a", "1"), file("d/e/b", "1")}, {file("d/e/c", "2"), file(".wh.d", "")}},
			rootfs: []string{"/ dir", "/d dir", "/d/e dir", "/d/e/c = 2"},
		},
		"a whiteout of a replaced directory": {
			layers: [][]item{{file("d/a", "1")}, {file(".wh.d", ""), file("d/b", "2")}},
			rootfs: []string{"/ dir", "/d dir", "/d/b = 2"},
		},
		"an opaque directory, marked first": {
			layers: [][]item{{file("d/a", "1"), file("d/e/b", "1")}, {dir("d"), file("d/.wh..wh..opq", ""), file("d/e/c", "2")}},
			rootfs: []string{"/ dir", "/d dir", "/d/e dir", "/d/e/c = 2"},
		},
		"an opaque directory, marked last": {
			layers: [][]item{{file("d/a", "1"), file("d/e/b", "1")}, {dir("d"), file("d/e/c", "2"), file("d/.wh..wh..opq", "")}},
			rootfs: []string{"/ dir", "/d dir", "/d/e dir", "/d/e/c = 2"},
		},
		"an opaque root": {
			layers: [][]item{{file("a", "1"), file("root/a", "1"), file("root/b", "1")}, {file("root/a", "2"), file(".wh..wh..opq", ""), file("c", "2")}},
			rootfs: []string{"/ dir", "/c = 2"}, seed: []string{"/ dir", "/a = 2"},
		},
		"a whiteout below /root": {
			layers: [][]item{{file("root/a", "1"), file("root/d/b", "1")}, {file("root/.wh.a", ""), file("root/d/.wh..wh..opq", "")}},
			seed:   []string{"/ dir", "/d dir"},
		},
		"a whiteout of /root": {
			layers: [][]item{{file("root/a", "1"), file("b", "1")}, {file(".wh.root", "")}},
			rootfs: []string{"/ dir", "/b = 1"},
		},
		"a whiteout of /root around what is new": {
			layers: [][]item{{file("root/a", "1")}, {file("root/b", "2"), file(".wh.root", "")}},
			seed:   []string{"/ dir", "/b = 2"},
		},
		"an opaque /root": {
			layers: [][]item{{file("root/a", "1")}, {file("root/b", "2"), file("root/.wh..wh..opq", "")}},
			seed:   []string{"/ dir", "/b = 2"},
		},
		"/root becomes a file and a directory again": {
			layers: [][]item{{file("root/a", "1")}, {file("root", "2")}, {file("root/b", "3")}},
			seed:   []string{"/ dir", "/b = 3"}, warnings: 1,
		},
		"whiteouts through a link to a directory": {
			layers: [][]item{
				{dir("usr/lib"), symlink("lib", "usr/lib"), file("lib/a", "1"), file("lib/b", "1"), file("lib/d/c", "1"), file("usr/x", "1")},
				{file("lib/.wh.a", ""), file("lib/d/.wh..wh..opq", ""), file("lib/n", "2")},
			},
			rootfs: []string{"/ dir", "/lib -> usr/lib", "/usr dir", "/usr/lib dir", "/usr/lib/b = 1", "/usr/lib/d dir", "/usr/lib/n = 2", "/usr/x = 1"},
		},
		"an opaque link to a directory": {
			layers: [][]item{{symlink("lib", "usr/lib"), file("lib/a", "1")}, {file("lib/.wh..wh..opq", "")}},
			rootfs: []string{"/ dir", "/lib -> usr/lib", "/usr dir", "/usr/lib dir"},
		},
		"an opaque link to /root": {
			layers: [][]item{{symlink("home", "/root"), file("root/a", "1")}, {file("home/b", "2"), file("home/.wh..wh..opq", "")}},
			rootfs: []string{"/ dir", "/home -> /root"}, seed: []string{"/ dir", "/b = 2"},
		},
		"a whiteout hides a link, not its target": {
			layers: [][]item{{symlink("lib", "usr/lib"), file("lib/a", "1")}, {file(".wh.lib", "")}},
			rootfs: []string{"/ dir", "/usr dir", "/usr/lib dir", "/usr/lib/a = 1"},
		},
		"a directory over a link to one replaces it": {
			layers: [][]item{{symlink("lib", "usr/lib"), file("usr/lib/a", "1")}, {dir("lib"), file("lib/b", "2")}},
			rootfs: []string{"/ dir", "/lib dir", "/lib/b = 2", "/usr dir", "/usr/lib dir", "/usr/lib/a = 1"},
		},
		"a link over a directory replaces it": {
			layers: [][]item{{file("lib/a", "1"), dir("usr/lib")}, {symlink("lib", "usr/lib"), file("lib/b", "2")}},
			rootfs: []string{"/ dir", "/lib -> usr/lib", "/usr dir", "/usr/lib dir", "/usr/lib/b = 2"},
		},
		"directories become files and directories again": {
			layers: [][]item{{file("d/a", "1")}, {file("d", "2")}, {dir("d"), file("d/b", "3")}},
			rootfs: []string{"/ dir", "/d dir", "/d/b = 3"},
		},
		"hard links across layers": {
			layers: [][]item{{file("a", "1")}, {link("b", "a")}, {file("a", "3")}, {file(".wh.a", "")}, {link("c", "b")}},
			rootfs: []string{"/ dir", "/b = 1", "/c = 1"},
		},
		"a hard link keeps what is replaced in its own layer": {
			layers: [][]item{{file("a", "1"), link("b", "a"), file("a", "2"), link("c", "a")}},
			rootfs: []string{"/ dir", "/a = 2", "/b = 1", "/c = 2"},
		},
		"a hard link to a link": {
			layers: [][]item{{symlink("a", "x")}, {link("b", "a")}, {file(".wh.a", "")}},
			rootfs: []string{"/ dir", "/b -> x"},
		},
		"a hard link through a linked parent": {
			layers: [][]item{{symlink("lib", "usr/lib"), file("lib/a", "1")}, {link("b", "lib/a"), link("lib/c", "/lib/a")}},
			rootfs: []string{"/ dir", "/b = 1", "/lib -> usr/lib", "/usr dir", "/usr/lib dir", "/usr/lib/a = 1", "/usr/lib/c = 1"},
		},
		"bookkeeping of aufs": {
			layers: [][]item{{
				dir(".wh..wh.plnk"), file(".wh..wh.plnk/1.2", "shared"), dir(".wh..wh.orph"), file(".wh..wh.orph/x", "no"),
				file(".wh..wh.aufs", ""), link("a", ".wh..wh.plnk/1.2"), link("root/b", ".wh..wh.plnk/1.2"), file("d/.wh..wh.x", ""),
			}, {file(".wh..wh.aufs", ""), dir(".wh..wh.plnk")}},
			rootfs: []string{"/ dir", "/a = shared"}, seed: []string{"/ dir", "/b = shared"}, warnings: 1,
		},
		"no layer":       {},
		"an empty layer": {layers: [][]item{{}, {file("a", "1")}, {}}, rootfs: []string{"/ dir", "/a = 1"}},
		"only whiteouts": {layers: [][]item{{file(".wh.a", ""), file("root/.wh.a", ""), file(".wh..wh..opq", "")}}},
		"all is hidden":  {layers: [][]item{{file("a", "1"), file("d/b", "1")}, {file(".wh.a", ""), file(".wh.d", "")}}},
		"names that only look like whiteouts": {
			layers: [][]item{{file("a.wh.b", "1"), file(".why", "1"), file(".wh", "1")}, {file("x.wh.a.wh.b", "2")}},
			rootfs: []string{"/ dir", "/.wh = 1", "/.why = 1", "/a.wh.b = 1", "/x.wh.a.wh.b = 2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := flat(t, readers(t, test.layers...)...)
			if err != nil {
				t.Fatal(err)
			}
			if test.rootfs == nil {
				test.rootfs = empty
			}
			if test.seed == nil {
				test.seed = empty
			}
			got := tell(t, m.tree.rootfs, "")
			rest := make([]string, 0, len(got))
			for _, line := range got {
				if line != "/root dir" {
					rest = append(rest, line)
				}
			}
			if len(rest) == len(got) {
				t.Error("there is no /root")
			}
			if diff := cmp.Diff(test.rootfs, rest); diff != "" {
				t.Errorf("rootfs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.seed, tell(t, m.tree.seed, "")); diff != "" {
				t.Errorf("seed (-want +got):\n%s", diff)
			}
			if got := m.warnings.list(); len(got) != test.warnings {
				t.Errorf("warnings %q, want %d", got, test.warnings)
			}
		})
	}
}

// TestAttributesOfHiddenRoot follows the attributes of /root, which has two inodes, through layers.
func TestAttributesOfHiddenRoot(t *testing.T) {
	odd := item{Header: tar.Header{Name: "root", Typeflag: tar.TypeDir, Mode: 0o711, Uid: 7, ModTime: epoch}}
	for name, test := range map[string]struct {
		upper []item
		mode  uint16
	}{
		"untouched":        {nil, 0o711},
		"whiteout":         {[]item{file(".wh.root", "")}, 0o700},
		"around new":       {[]item{file("root/x", ""), file(".wh.root", "")}, 0o711},
		"opaque":           {[]item{file("root/.wh..wh..opq", "")}, 0o711},
		"opaque root":      {[]item{file(".wh..wh..opq", "")}, 0o700},
		"whiteout and new": {[]item{file(".wh.root", ""), odd}, 0o711},
		"new and whiteout": {[]item{odd, file(".wh.root", "")}, 0o711},
		"a file":           {[]item{file("root", "")}, 0o700},
	} {
		m, err := flat(t, readers(t, []item{odd, file("root/a", "")}, test.upper)...)
		if err != nil {
			t.Fatal(err)
		}
		a, errA := m.tree.rootfs.Stat("root")
		b, errB := m.tree.seed.Stat("")
		if err := errors.Join(errA, errB); err != nil {
			t.Fatal(err)
		}
		if a.Mode != test.mode || b.Mode != test.mode || a.UID != b.UID {
			t.Errorf("%s: mode %#o and %#o, want %#o", name, a.Mode, b.Mode, test.mode)
		}
	}
}

func TestEmptyTar(t *testing.T) {
	for _, data := range [][]byte{nil, archive(t)} {
		_, err := Tar(t.Context(), bytes.NewReader(data), newImage(t, "r"), nil, Options{})
		if !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), "empty") {
			t.Error(err)
		}
	}
}
