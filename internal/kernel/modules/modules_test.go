package modules_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/kernel/kerneltest"
	"github.com/banger-dev/banger/internal/kernel/modules"
)

const version = "6.1.0-56-cloud-amd64"

func tree(files map[string][]byte) fstest.MapFS {
	t := fstest.MapFS{}
	for name, data := range files {
		t[name] = &fstest.MapFile{Data: data}
	}
	return t
}

func scan(t *testing.T, files map[string][]byte) *modules.Tree {
	t.Helper()
	scanned, err := modules.Scan(t.Context(), tree(files), nil)
	if err != nil {
		t.Fatal(err)
	}
	return scanned
}

func module(info ...string) []byte { return kerneltest.Module(info...) }

func TestNameOf(t *testing.T) {
	for file, want := range map[string]string{
		"kernel/drivers/char/hw_random/virtio-rng.ko":  "virtio_rng",
		"kernel/sound/soc/codecs/snd-soc-rt5645.ko.xz": "snd_soc_rt5645",
		"overlay": "overlay",
	} {
		if got := modules.NameOf(file); got != want {
			t.Errorf("NameOf(%q) = %q, want %q", file, got, want)
		}
	}
}

func TestLoadOrder(t *testing.T) {
	files := map[string][]byte{
		"modules.builtin": []byte("kernel/lib/crc16.ko\nkernel/crypto/built-in.ko\n"),
		"a.ko":            module("depends=b,c"),
		"b.ko":            module("depends=c"),
		"c.ko":            module("depends="),
		"with-dash.ko":    module("depends=a"),
		"ext4.ko":         module("depends=crc16,mbcache,jbd2", "softdep=pre: crc32c post: late"),
		"jbd2.ko":         module("depends="),
		"mbcache.ko":      module("depends="),
		"crc32c_x.ko":     module("depends=", "alias=crypto-crc32c", "alias=crc32c"),
		"crc32c_y.ko":     module("depends=", "alias=crc32c"),
		"late.ko":         module("depends="),
		"softloop.ko":     module("depends=", "softdep=pre: softloop2"),
		"softloop2.ko":    module("depends=softloop"),
	}
	tests := []struct {
		name    string
		wanted  []string
		order   string
		missing []string
	}{
		{"nothing", nil, "", nil},
		{"dependencies come first", []string{"a"}, "c b a", nil},
		{"each only once", []string{"b", "a", "c", "a"}, "c b a", nil},
		{"dashes and underscores are one", []string{"with-dash"}, "c b a with_dash", nil},
		{"soft dependencies by alias", []string{"ext4"}, "crc32c_x crc32c_y mbcache jbd2 ext4", nil},
		{"a soft dependency that closes a circle is dropped", []string{"softloop2"}, "softloop softloop2", nil},
		{"built in", []string{"crc16", "built_in", "c"}, "c", nil},
		{"missing", []string{"nosuch", "c"}, "c", []string{"nosuch"}},
	}
	scanned := scan(t, files)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			order, missing, err := scanned.LoadOrder(test.wanted)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, m := range order {
				names = append(names, m.Name)
			}
			if diff := cmp.Diff(test.order, strings.Join(names, " ")); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.missing, missing); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLoadOrderRefuses(t *testing.T) {
	scanned := scan(t, map[string][]byte{
		"loop1.ko":  module("depends=loop2"),
		"loop2.ko":  module("depends=loop1"),
		"broken.ko": module("depends=nowhere"),
	})
	for name, want := range map[string]string{
		"loop1":  "depends on itself",
		"broken": "needs nowhere, which is neither a module nor built in",
	} {
		if _, _, err := scanned.LoadOrder([]string{name}); !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("LoadOrder(%s): %v, want %q", name, err, want)
		}
	}
}

func TestScanDecompresses(t *testing.T) {
	plain := module("depends=b", "vermagic="+version+" SMP")
	files := map[string][]byte{"plain.ko": plain}
	for suffix, pack := range map[string]func(io.Writer) (io.WriteCloser, error){
		"gz":  func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
		"xz":  func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) },
		"zst": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
	} {
		var b bytes.Buffer
		w, err := pack(&b)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Write(plain)
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		files["kernel/m-"+suffix+".ko."+suffix] = b.Bytes()
	}
	seen := map[string]string{}
	scanned, err := modules.Scan(t.Context(), tree(files), func(m *modules.Module, content []byte) error {
		if !bytes.Equal(content, plain) {
			t.Errorf("%s came out changed", m.Path)
		}
		seen[m.Path] = m.Version
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"plain.ko": version, "kernel/m-gz.ko": version, "kernel/m-xz.ko": version, "kernel/m-zst.ko": version}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
	if scanned.Len() != 4 {
		t.Errorf("Len = %d", scanned.Len())
	}
}

func TestScanPrefersUpdates(t *testing.T) {
	scanned := scan(t, map[string][]byte{
		"extra/x.ko":           module("depends="),
		"kernel/drivers/x.ko":  module("depends="),
		"kernel/drivers/y.ko":  module("depends="),
		"updates/dkms/y.ko":    module("depends="),
		"kernel/drivers2/y.ko": module("depends="),
	})
	order, _, err := scanned.LoadOrder([]string{"x", "y"})
	if err != nil {
		t.Fatal(err)
	}
	if order[0].Path != "extra/x.ko" || order[1].Path != "updates/dkms/y.ko" || scanned.Len() != 2 {
		t.Errorf("chose %s and %s of %d", order[0].Path, order[1].Path, scanned.Len())
	}
}

func TestScanSkipsLinks(t *testing.T) {
	files := tree(map[string][]byte{"a.ko": module("depends=")})
	files["build"] = &fstest.MapFile{Data: []byte("/usr/src"), Mode: fs.ModeSymlink}
	files["link.ko"] = &fstest.MapFile{Data: []byte("a.ko"), Mode: fs.ModeSymlink}
	scanned, err := modules.Scan(t.Context(), files, nil)
	if err != nil || scanned.Len() != 1 {
		t.Errorf("Scan: %v", err)
	}
}

func TestScanRefuses(t *testing.T) {
	good := module("depends=")
	arm := bytes.Clone(good)
	arm[18] = 183
	tests := []struct {
		name string
		file string
		data []byte
		want string
	}{
		{"empty", "a.ko", nil, "module a.ko: no module"},
		{"cut", "a.ko", good[:70], "no module"},
		{"another machine", "a.ko", arm, "EM_AARCH64"},
		{"no modinfo", "a.ko", bytes.Replace(good, []byte(".modinfo"), []byte(".madinfo"), 1), "no .modinfo section"},
		{"damaged xz", "a.ko.xz", []byte("not xz"), "decompress"},
		{"damaged zstd", "a.ko.zst", []byte("not zstd"), "decompress"},
		{"damaged gzip", "a.ko.gz", []byte("not gzip"), "decompress"},
		{"bad name", "a\nb.ko", good, "bad character"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := modules.Scan(t.Context(), tree(map[string][]byte{test.file: test.data}), nil)
			if !errors.Is(err, errdefs.ErrInvalid) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Scan: %v, want an invalid %q", err, test.want)
			}
		})
	}
}

func TestScanEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := modules.Scan(ctx, os.DirFS(t.TempDir()), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Scan: %v", err)
	}
}

func FuzzScan(f *testing.F) {
	f.Add(module("depends=a,b", "alias=pci:v*d*", "softdep=pre: x"), []byte("kernel/a.ko\n"), []byte("a.alias=b\x00"))
	f.Fuzz(func(t *testing.T, content, builtin, modinfo []byte) {
		scanned, err := modules.Scan(t.Context(), tree(map[string][]byte{
			"m.ko": content, "modules.builtin": builtin, "modules.order": builtin, "modules.builtin.modinfo": modinfo,
		}), nil)
		if err != nil {
			return
		}
		if _, _, err := scanned.LoadOrder([]string{"m"}); err != nil && !errors.Is(err, errdefs.ErrInvalid) {
			t.Error(err)
		}
		if _, err := scanned.Indexes(); err != nil {
			t.Error(err)
		}
	})
}
