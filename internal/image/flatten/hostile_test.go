package flatten

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/internal/errdefs"
)

// header makes an item of a header that tar.Writer would not always take; see raw.
func header(h tar.Header) item { return item{Header: h} }

// pax is a file with records that a tar.Writer does not write.
func pax(t testing.TB, name string, records ...string) []byte {
	t.Helper()
	var text strings.Builder
	for _, r := range records {
		n := len(r) + 3 // a blank, a newline and at least one digit
		for len(fmt.Sprint(n)) != n-len(r)-2 {
			n++
		}
		fmt.Fprintf(&text, "%d %s\n", n, r)
	}
	return append(rawEntry("pax", tar.TypeXHeader, text.String()), rawEntry(name, tar.TypeReg, "")...)
}

// rawEntry is a header of the USTAR format and its content, padded.
func rawEntry(name string, flag byte, content string) []byte {
	b := make([]byte, 512)
	copy(b, name)
	copy(b[100:], "0000644\x000000000\x000000000\x00")
	copy(b[124:], fmt.Sprintf("%011o\x00", len(content)))
	copy(b[136:], "14524376400\x00")
	b[156] = flag
	copy(b[257:], "ustar\x0000")
	seal(b)
	return append(b, append([]byte(content), make([]byte, (512-len(content)%512)%512)...)...)
}

// seal sets the checksum of a header.
func seal(b []byte) {
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
}

// patched is a good entry with bytes replaced at an offset of its header.
func patched(name string, off int, with string) []byte {
	b := rawEntry(name, tar.TypeReg, "")
	copy(b[off:], with)
	seal(b)
	return b
}

// number is how GNU tar writes large and negative numbers.
func number(n int64, size int) string {
	b := make([]byte, 16)
	binary.BigEndian.PutUint64(b[8:], uint64(n))
	if n < 0 {
		binary.BigEndian.PutUint64(b, math.MaxUint64)
	}
	b = b[16-size:]
	b[0] |= 0x80
	return string(b)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func hostileArchives(t testing.TB) map[string]struct {
	archive []byte
	text    string // of the refusal
} {
	good := archive(t, file("a", strings.Repeat("a", 5000)))
	end := make([]byte, 1024)
	loop := []item{symlink("l", "l/l"), file("l/x", "")}
	longLink := symlink("a", strings.Repeat("b/", 1500)+"b")
	longer := symlink(strings.Repeat("b/", 1500)+"b/c", strings.Repeat("d/", 1500)+"d")
	manyLinks := []item{file("0", "")}
	for i := range 65000 {
		manyLinks = append(manyLinks, link(fmt.Sprint("n", i), "0"))
	}
	xattr := func(name, value string) []byte {
		return archive(t, header(tar.Header{Name: "x", Typeflag: tar.TypeReg, PAXRecords: map[string]string{schilyXattr + name: value}}))
	}
	return map[string]struct {
		archive []byte
		text    string
	}{
		"not an archive":            {bytes.Repeat([]byte("x"), 4096), "start"},
		"cut in content":            {good[:3000], `"a"`},
		"cut in a header":           {good[:300], "start"},
		"cut in the next header":    {append(good[:512+5120:512+5120], good[:100]...), `"a"`},
		"wrong checksum":            {join(good[:512+5120], bytes.Replace(rawEntry("b", '0', ""), []byte("b"), []byte("c"), 1), end), `"a"`},
		"endless":                   {append(good[:len(good):len(good)], make([]byte, 2<<20)...), "follow"},
		"a second archive":          {append(good[:len(good):len(good)], bytes.Repeat(good, 300)...), "follow"},
		"parent":                    {archive(t, file("a/../../b", "")), `"a/../../b"`},
		"parent inside":             {archive(t, file("a/../b", "")), `"a/../b"`},
		"absolute parent":           {archive(t, file("/../etc/passwd", "")), `"/../etc/passwd"`},
		"nothing but a parent":      {archive(t, dir("..")), `".."`},
		"link to a parent":          {archive(t, file("a", ""), link("b", "../a")), `"b"`},
		"link to nothing":           {archive(t, link("b", "a")), `"b"`},
		"link to no name":           {archive(t, link("b", "")), `"b"`},
		"link across to nothing":    {archive(t, link("root/b", "a")), `"root/b"`},
		"link to a directory":       {archive(t, dir("a"), link("b", "a")), `"b"`},
		"link across to one":        {archive(t, dir("a"), link("root/b", "a")), `"root/b"`},
		"link to the root":          {archive(t, link("b", "/")), `"b"`},
		"link in place of /root":    {archive(t, file("a", ""), link("root", "a")), `"root"`},
		"link to a whiteout":        {archive(t, file("a", ""), file(".wh.a", ""), link("b", ".wh.a")), `"b"`},
		"65001 names of a file":     {archive(t, manyLinks...), `"n64999"`},
		"root as a file":            {archive(t, file(".", "x")), `"."`},
		"root as a link":            {archive(t, symlink(".", "x")), `"."`},
		"no name":                   {join(rawEntry("", '0', "x"), end), `""`},
		"below a file":              {archive(t, file("a", ""), file("a/b", "")), `"a/b"`},
		"below a device":            {archive(t, special("a", tar.TypeChar), dir("a/b")), `"a/b"`},
		"link loop":                 {archive(t, loop...), `"l/x"`},
		"links that grow":           {archive(t, longLink, longer, symlink("a/c/d", "x"), file("a/c/e/f", "")), `"a/c`},
		"long name":                 {archive(t, file(strings.Repeat("n", 256), "")), "longer than 255"},
		"long path":                 {archive(t, file(strings.Repeat("n/", 2100)+"n", "")), "name of"},
		"long target":               {archive(t, symlink("l", strings.Repeat("t", 4096))), `"l"`},
		"no target":                 {archive(t, symlink("l", "")), `"l"`},
		"zero byte in a target":     {pax2(t, "linkpath=a\x00b"), "start"},
		"zero byte in a name":       {join(pax(t, "x", "path=a\x00b"), end), "start"},
		"PAX name leads out":        {join(pax(t, "x", "path=../../x"), end), `"../../x"`},
		"PAX record too short":      {join(rawEntry("p", tar.TypeXHeader, "3 a"), rawEntry("x", '0', ""), end), "start"},
		"PAX record too long":       {join(rawEntry("p", tar.TypeXHeader, "9999 path=x\n"), rawEntry("x", '0', ""), end), "start"},
		"PAX record of megabytes":   {join(rawEntry("p", tar.TypeXHeader, strings.Repeat("p", 2<<20)), rawEntry("x", '0', ""), end), "start"},
		"PAX size below zero":       {join(pax(t, "x", "size=-1"), end), "start"},
		"PAX size beyond the end":   {join(pax(t, "x", "size=1000000"), end), `"x"`},
		"PAX size of exabytes":      {join(pax(t, "x", "size=9000000000000000000"), end), `"x"`},
		"size below zero":           {join(patched("x", 124, number(-5, 12)), end), "start"},
		"size of exabytes":          {join(patched("x", 124, number(1<<60, 12)), end), `"x"`},
		"owner below zero":          {join(patched("x", 108, number(-5, 8)), end), `"x"`},
		"owner of 33 bits":          {join(patched("x", 108, number(1<<32, 8)), end), `"x"`},
		"group of 33 bits":          {join(pax(t, "x", "gid=4294967296"), end), `"x"`},
		"letters for a number":      {join(patched("x", 108, "nobody\x00\x00"), end), "start"},
		"major device number":       {archive(t, header(tar.Header{Name: "d", Typeflag: tar.TypeBlock, Devmajor: 5000, Format: tar.FormatGNU})), `"d"`},
		"minor device number":       {archive(t, header(tar.Header{Name: "d", Typeflag: tar.TypeChar, Devminor: 1 << 20, Format: tar.FormatGNU})), `"d"`},
		"type":                      {archive(t, header(tar.Header{Name: "v", Typeflag: 'V', Format: tar.FormatGNU})), `"v"`},
		"continued in another":      {join(rawEntry("m", 'M', ""), end), `"m"`},
		"huge attribute":            {xattr("user.a", strings.Repeat("v", 5000)), `"x"`},
		"sparse beyond its size":    {join(pax(t, "x", "GNU.sparse.major=0", "GNU.sparse.minor=1", "GNU.sparse.numblocks=1", "GNU.sparse.map=0,100", "GNU.sparse.size=10"), end), "start"},
		"sparse parts that overlap": {join(pax(t, "x", "GNU.sparse.major=0", "GNU.sparse.minor=1", "GNU.sparse.numblocks=2", "GNU.sparse.map=0,5,3,5", "GNU.sparse.size=10"), end), "start"},
		"sparse of exabytes":        {join(pax(t, "x", "GNU.sparse.major=0", "GNU.sparse.minor=1", "GNU.sparse.numblocks=1", "GNU.sparse.map=0,0", "GNU.sparse.size=5000000000000000000"), end), `"x"`},
		"whiteout of no name":       {archive(t, file("d/.wh.", "")), `"d/.wh."`},
		"whiteout of itself":        {archive(t, file("d/.wh..", "")), `"d/.wh.."`},
		"whiteout of the parent":    {archive(t, file("d/.wh...", "")), `"d/.wh..."`},
		"inside a whiteout":         {archive(t, file(".wh.a/b", "")), `".wh.a/b"`},
		"whiteout in a link loop":   {archive(t, loop[0], file("l/.wh.x", "")), `"l/.wh.x"`},
	}
}

// pax2 is a symbolic link whose target is in a record.
func pax2(t testing.TB, record string) []byte {
	b := pax(t, "l", record)
	b[len(b)-512+156] = tar.TypeSymlink
	seal(b[len(b)-512:])
	return append(b, make([]byte, 1024)...)
}

func TestHostileArchivesAreRefused(t *testing.T) {
	for name, test := range hostileArchives(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, _, err := mergeFiles(inDir{t, dir}, [][]byte{test.archive})
			if !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%v, want an error of class invalid that has %q", err, test.text)
			}
			onlyImages(t, dir)
		})
	}
}

// onlyImages looks for what was written beside the two images.
func onlyImages(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff([]string{"rootfs", "seed"}, names); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for _, p := range []string{"../x", "../b", "../rootfs", "../etc"} {
		if _, err := os.Lstat(filepath.Join(dir, p)); err == nil {
			t.Errorf("%s was made", p)
		}
	}
}

// TestHostileArchivesStayInside has what looks dangerous but can be represented.
func TestHostileArchivesStayInside(t *testing.T) {
	end := make([]byte, 1024)
	for name, test := range map[string]struct {
		layers   [][]byte
		want     []string // of the root file system, without directories
		warnings int
	}{
		"through an absolute link":        {archives(t, []item{symlink("x", "/etc"), file("x/passwd", "1")}), []string{"/etc/passwd = 1", "/x -> /etc"}, 0},
		"through a link to the root":      {archives(t, []item{symlink("x", "/"), file("x/x/x/a", "1")}), []string{"/a = 1", "/x -> /"}, 0},
		"through a link that climbs":      {archives(t, []item{symlink("x", "../../../.."), file("x/a", "1")}), []string{"/a = 1", "/x -> ../../../.."}, 0},
		"through a link of a lower layer": {archives(t, []item{symlink("x", "/tmp/../..")}, []item{file("x/a", "1")}), []string{"/a = 1", "/x -> /tmp/../.."}, 0},
		"through /proc":                   {archives(t, []item{symlink("x", "/proc/self/root"), file("x/a", "1")}), []string{"/proc/self/root/a = 1", "/x -> /proc/self/root"}, 0},
		"a file over a link":              {archives(t, []item{symlink("x", "/etc/passwd"), file("x", "1")}), []string{"/x = 1"}, 0},
		"a file over a hard link":         {archives(t, []item{file("a", "1"), link("b", "a"), file("b", "2")}), []string{"/a = 1", "/b = 2"}, 0},
		"a hard link to a link outside":   {archives(t, []item{symlink("x", "/etc/shadow"), link("y", "x"), file("y", "1")}), []string{"/x -> /etc/shadow", "/y = 1"}, 0},
		"a hard link to itself":           {archives(t, []item{file("a", "1"), link("a", "a")}), []string{"/a = 1"}, 0},
		"a hard link over its directory":  {archives(t, []item{file("d/a", "1"), link("d", "d/a")}), []string{"/d = 1"}, 0},
		"a hard link through a link":      {archives(t, []item{symlink("x", "/../.."), file("a", "1"), link("b", "x/a")}), []string{"/a = 1", "/b = 1", "/x -> /../.."}, 0},
		"a whiteout through a link":       {archives(t, []item{symlink("x", "/.."), file("etc", "1")}, []item{file("x/.wh.etc", "")}), []string{"/x -> /.."}, 0},
		"an opaque link to the root":      {archives(t, []item{symlink("x", ".."), file("etc", "1")}, []item{file("x/.wh..wh..opq", "")}), nil, 0},
		"a whiteout that is a link":       {archives(t, []item{file("a", "1")}, []item{symlink(".wh.a", "/etc")}), nil, 0},
		"absolute names":                  {archives(t, []item{file("//etc//passwd", "1"), link("/b", "/etc/passwd")}), []string{"/b = 1", "/etc/passwd = 1"}, 0},
		"control bytes":                   {archives(t, []item{file("a\nb\x1b[2J", "1"), symlink("l", "\x07\xff")}), []string{"/a\nb\x1b[2J = 1", "/l -> \x07\xff"}, 0},
		"devices":                         {archives(t, []item{special("sda", tar.TypeBlock), special("dev/mem", tar.TypeChar)}), []string{"/dev/mem special", "/sda special"}, 0},
		"the same many times":             {archives(t, []item{file("a", "1"), dir("a"), symlink("a", "x"), special("a", tar.TypeFifo), link("b", "a"), file("a", "2")}), []string{"/a = 2", "/b special"}, 0},
		"times out of range":              {archives(t, []item{at(file("a", "1"), time.Unix(1<<40, 0)), at(file("b", "1"), time.Unix(-1<<40, 0))}), []string{"/a = 1", "/b = 1"}, 0},
		"a file that holds nothing":       {[][]byte{join(pax(t, "x", "GNU.sparse.major=0", "GNU.sparse.minor=1", "GNU.sparse.numblocks=1", "GNU.sparse.map=0,0", "GNU.sparse.size=10000000", "GNU.sparse.name=y"), end)}, []string{"/y = " + strings.Repeat("\x00", 10000000)}, 0},
		"global headers":                  {[][]byte{join(rawEntry("g", tar.TypeXGlobalHeader, "13 path=../x\n"), rawEntry("a", '0', "1"), end)}, []string{"/a = 1"}, 0},
		"attributes without a meaning":    {archives(t, []item{xattrs(file("a", "1"), map[string]string{"": "x", "nonsense": "x", "user.": "x", "system.posix_acl_access": "x", "trusted." + strings.Repeat("n", 256): "x"})}), []string{"/a = 1"}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			var streams []io.Reader
			for _, data := range test.layers {
				streams = append(streams, bytes.NewReader(data))
			}
			m, err := flat(t, streams...)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, line := range tell(t, m.tree.rootfs, "") {
				if !strings.HasSuffix(line, " dir") {
					got = append(got, line)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := m.warnings.list(); len(got) != test.warnings {
				t.Errorf("warnings %q, want %d", got, test.warnings)
			}
		})
	}
}
