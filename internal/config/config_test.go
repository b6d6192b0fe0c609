package config

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/internal/errdefs"
)

func compiledIn() Config {
	return Config{
		Image: "debian-bookworm", Kernel: "debian-cloud", VCPU: min(2, runtime.NumCPU()),
		Memory: 1 << 30, DiskSize: 16 << 30, OverlaySize: 64 << 30,
		Net: "public", QEMU: "qemu-system-x86_64", Accelerator: "auto",
	}
}

func load(t *testing.T, file string, env map[string]string) (Config, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.toml")
	if file != "" {
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(path, func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	})
	return c, path, err
}

func TestLoad(t *testing.T) {
	for _, c := range []struct {
		name, file string
		env        map[string]string
		change     func(*Config)
	}{
		{name: "nothing", change: func(*Config) {}},
		{
			name: "every key",
			file: `
				image = "i"
				kernel = "k"
				vcpu = 3
				memory = "1.5GiB"
				disk_size = 1048576
				overlay_size = "2G"
				net = "none"
				qemu = "/q"
				accelerator = "tcg"
				agent = "/a"
				resolvers = ["192.0.2.1", "[2001:db8::1]:5353"]
				debian_mirror = "http://mirror.example/debian"
				catalogs = ["/c.json", "https://catalog.example/c.json"]`,
			change: func(c *Config) {
				*c = Config{
					"i", "k", 3, 3 << 29, 1 << 20, 2 << 30, "none", "/q", "tcg", "/a",
					[]string{"192.0.2.1:53", "[2001:db8::1]:5353"},
					"http://mirror.example/debian",
					[]string{"/c.json", "https://catalog.example/c.json"},
				}
			},
		},
		{
			name: "environment over file",
			file: "vcpu = 3\nmemory = '2G'\nresolvers = ['192.0.2.1']",
			env:  map[string]string{"BANGER_VCPU": "4", "BANGER_RESOLVERS": "192.0.2.2, 2001:db8::1", "BANGER_HOME": "/h"},
			change: func(c *Config) {
				c.VCPU, c.Memory, c.Resolvers = 4, 2<<30, []string{"192.0.2.2:53", "[2001:db8::1]:53"}
			},
		},
		{name: "empty variable empties a list", file: "resolvers = ['192.0.2.1']", env: map[string]string{"BANGER_RESOLVERS": ""}, change: func(*Config) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := compiledIn()
			c.change(&want)
			got, _, err := load(t, c.file, c.env)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct {
		name, file string
		env        map[string]string
		want       string // FILE stands for the file's path
	}{
		{"unknown key", "vcpu = 1\n\nvcpus = 2", nil, `read config FILE:3: unknown key "vcpus"`},
		{"unknown table", "[net]\nmode = 1", nil, `read config FILE:`},
		{"unknown key in a table", "[vm]\nvcpu = 1", nil, `read config FILE:1: unknown key "vm"`},
		{"syntax", "vcpu = 1\nimage =", nil, `read config FILE:2: expected value, not end of input`},
		{"twice", "vcpu = 1\nvcpu = 2", nil, `read config FILE:2: vcpu: key vcpu is already defined`},
		{"size", "\nmemory = '1 GB'", nil, `read config FILE:2: memory: size "1 GB": not a size`},
		{"zero size", "memory = 0", nil, `read config FILE:1: memory: size "0": must not be zero`},
		{"vcpu", "vcpu = 0", nil, `read config FILE:1: vcpu: "0" is not a number from 1 to 256`},
		{"net", "net = 'open'", nil, `read config FILE:1: net: "open" is none of public, full, none`},
		{"type", "image = ['a']", nil, `read config FILE:1: image: cannot decode TOML array`},
		{"empty text", "image = ''", nil, `read config FILE:1: image: must not be empty`},
		{"relative agent", "agent = 'a'", nil, `read config FILE:1: agent: "a" is not an absolute path`},
		{"mirror", "debian_mirror = 'ftp://x'", nil, `read config FILE:1: debian_mirror: "ftp://x" is not an http, https or file URL`},
		{"resolver", "resolvers = [\n'192.0.2.1',\n'dns']", nil, `read config FILE:3: resolvers: "dns" is not an IP address, with or without a port`},
		{"catalog", "catalogs = ['c.json']", nil, `read config FILE:1: catalogs: "c.json" is neither an absolute path nor an http, https or file URL`},
		{"variable", "", map[string]string{"BANGER_NET": "x"}, `read environment: BANGER_NET: "x" is none of public, full, none`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, path, err := load(t, c.file, c.env)
			if !errors.Is(err, errdefs.ErrInvalid) {
				t.Fatalf("got %v, want an invalid error", err)
			}
			if want := strings.ReplaceAll(c.want, "FILE", path); !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got  %v\nwant %v", err, want)
			}
		})
	}
}

func TestUnknownKeyHint(t *testing.T) {
	_, _, err := load(t, "vcpus = 2", nil)
	if hint := errdefs.Hint(err); !strings.Contains(hint, "image, kernel, vcpu, memory") {
		t.Errorf("hint %q", hint)
	}
}

func TestLoadUnreadable(t *testing.T) {
	if _, err := Load(t.TempDir(), os.LookupEnv); err == nil {
		t.Error("a directory was read")
	}
}
