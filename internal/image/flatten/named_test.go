package flatten

import (
	"archive/tar"
	"fmt"
	"strings"
	"time"
)

// layerCase is some layers, and all that is in the image then.
type layerCase struct {
	layers   [][]item
	rootfs   []string // without /root; nil: empty
	seed     []string // nil: empty
	warnings int
	alone    string // why neither the model nor umoci is asked
}

// namedLayers has a case for each rule.
func namedLayers() map[string]layerCase {
	return map[string]layerCase{
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
			alone: "ours always has a directory, on which the seed is mounted",
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
			alone: "umoci does not know aufs",
		},
		"no layer":       {},
		"an empty layer": {layers: [][]item{{}, {file("a", "1")}, {}}, rootfs: []string{"/ dir", "/a = 1"}},
		"only whiteouts": {layers: [][]item{{file(".wh.a", ""), file("root/.wh.a", ""), file(".wh..wh..opq", "")}}},
		"all is hidden":  {layers: [][]item{{file("a", "1"), file("d/b", "1")}, {file(".wh.a", ""), file(".wh.d", "")}}},
		"names that only look like whiteouts": {
			layers: [][]item{{file("a.wh.b", "1"), file(".why", "1"), file(".wh", "1")}, {file("x.wh.a.wh.b", "2")}},
			rootfs: []string{"/ dir", "/.wh = 1", "/.why = 1", "/a.wh.b = 1", "/x.wh.a.wh.b = 2"},
		},
	}
}

// attributes is an item whose header is changed.
func attributes(i item, change func(h *tar.Header)) item {
	i.Format = tar.FormatPAX
	change(&i.Header)
	return i
}

func xattrs(i item, list map[string]string) item {
	return attributes(i, func(h *tar.Header) {
		h.PAXRecords = make(map[string]string)
		for name, value := range list {
			h.PAXRecords[schilyXattr+name] = value
		}
	})
}

func mode(i item, bits int64) item { return attributes(i, func(h *tar.Header) { h.Mode = bits }) }

func at(i item, t time.Time) item { return attributes(i, func(h *tar.Header) { h.ModTime = t }) }

func special(name string, flag byte) item {
	return item{Header: tar.Header{
		Name: name, Typeflag: flag, Mode: 0o640, Uid: 3, Gid: 4, ModTime: epoch, Devmajor: 250, Devminor: 1 << 10,
	}}
}

// attributeLayers are layers whose files are compared in all that they have, with the model and with umoci.
func attributeLayers() map[string][][]item {
	early, late := time.Unix(1000000000, 1), time.Unix(1<<33, 999999999)
	long := strings.Repeat("n", 255)
	caps := xattrsOfFiles["security.capability"]
	many := make([][]item, 127)
	for i := range many {
		many[i] = []item{file(fmt.Sprintf("d/%d", i), fmt.Sprint(i)), file("same", fmt.Sprint(i)), file(fmt.Sprintf("d/.wh.%d", i-5), "")}
	}
	return map[string][][]item{
		"setuid, setgid, sticky": {{mode(file("u", "x"), 0o4755), mode(file("g", "x"), 0o2755), mode(dir("t"), 0o1777), mode(file("none", ""), 0)}},
		"owners":                 {{attributes(file("a", ""), func(h *tar.Header) { h.Uid, h.Gid = 1<<31, 1<<32-2 })}},
		"nanoseconds, and years before and after 32 bits": {{at(file("a", ""), early), at(dir("d"), late), at(symlink("l", "x"), late), at(file("old", ""), time.Unix(-2000000000, 5))}},
		"time of a directory with later changes": {
			{at(dir("d"), early), at(dir("d/e"), early), file("d/e/a", "1"), file("d/b", "1")},
			{file("d/e/c", "2"), file("d/.wh.b", "")},
			{at(dir("d"), late), file("d/x", "3")},
		},
		"attributes of a directory change, its content stays": {{mode(dir("d"), 0o700), file("d/a", "1")}, {mode(dir("d"), 0o711)}},
		"extended attributes": {{
			xattrs(file("ping", "x"), map[string]string{"security.capability": caps, "user.a": "1"}),
			xattrs(mode(dir("d"), 0o770), map[string]string{aclAccess: testACL, aclDefault: packACL(6, 4, 6, 4), "trusted.t": "t"}),
			xattrs(mode(file("f", ""), 0o770), map[string]string{aclAccess: testACL}),
			xattrs(file("big", ""), map[string]string{"user.big": strings.Repeat("b", 3000), "user." + long[5:]: "n"}),
		}},
		"extended attributes are replaced": {
			{xattrs(dir("d"), map[string]string{"user.a": "1", "user.b": "1"}), xattrs(file("f", ""), map[string]string{"user.a": "1"})},
			{xattrs(dir("d"), map[string]string{"user.b": "2"}), file("f", "2")},
		},
		"hard links share attributes": {{xattrs(file("a", "1"), map[string]string{"user.a": "1"}), link("b", "a")}, {link("d/c", "b"), mode(file("a", "2"), 0o600)}},
		"devices and pipes":           {{special("c", tar.TypeChar), special("b", tar.TypeBlock), special("p", tar.TypeFifo), link("p2", "p"), link("c2", "c")}},
		"odd names": {{
			dir(long), file(long+"/"+long, ""), file("a\nb", "2"), file("\xff\xfe", "3"), file(" ", "4"), file("sp ace\\", "5"), dir("\x7f/\x01"),
			symlink("\xfe", "\xff/\xfe"), file("...", "6"), file("..a", "7"),
		}},
		"duplicates":                   {{file("a", "1"), mode(file("a", "2"), 0o600), dir("d"), mode(dir("d"), 0o700), file("d/x", "1"), file("d/x", "2"), symlink("s", "1"), symlink("s", "2")}},
		"missing parents":              {{file("x/y/z", "1"), file("root/.config/a", "1")}, {link("p/q", "x/y/z"), symlink("r/s", "t")}},
		"other spellings":              {{dir("./"), dir("./a/"), file("/b", "1"), file(".//c//d", "1"), link("e", "./b"), link("f", "/b"), file("./.wh.x", "")}},
		"root directory":               {{mode(at(dir("./"), late), 0o711)}, {file("a", "")}},
		"large files":                  {{file("a", strings.Repeat("0123456789abcdef", 70000)), file("holes", strings.Repeat("\x00", 1<<20)+"x"+strings.Repeat("\x00", 1<<20))}},
		"long link":                    {{symlink("l", strings.Repeat("t/", 2000)+"t"), symlink("m", strings.Repeat("t", 59)), symlink("n", strings.Repeat("t", 60))}},
		"127 layers":                   many,
		"a layer replaced by the next": {{dir("usr/bin"), file("usr/bin/a", "1")}, {file(".wh.usr", "")}, {dir("usr/bin"), file("usr/bin/a", "2")}},
		"links that climb":             {{symlink("a", "../../../../b"), dir("b"), file("a/x", "1"), symlink("b/up", ".."), file("b/up/y", "1"), symlink("c", "/a"), file("c/z", "1")}},
	}
}
