package system

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/internal/guest/proto"
)

func TestHosts(t *testing.T) {
	const locals = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	for _, tc := range []struct{ name, old, want string }{
		{name: "none", want: locals + "127.0.1.1\tvm\n"},
		{name: "renamed", old: locals + "127.0.1.1\told\n", want: locals + "127.0.1.1\tvm\n"},
		{name: "again", old: locals + "127.0.1.1\tvm\n", want: locals + "127.0.1.1\tvm\n"},
		{name: "others stay", old: "# mine\n10.0.0.1 db\n  127.0.0.1  localhost here\n::1 localhost", want: "# mine\n10.0.0.1 db\n  127.0.0.1  localhost here\n::1 localhost\n127.0.1.1\tvm\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, string(hosts([]byte(tc.old), "vm"))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReplace(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(file string) error
	}{
		{name: "absent", make: func(string) error { return nil }},
		{name: "present", make: func(file string) error { return os.WriteFile(file, []byte("old"), 0o644) }},
		{name: "the same", make: func(file string) error { return os.WriteFile(file, []byte("new"), 0o644) }},
		{name: "dangling link", make: func(file string) error { return os.Symlink("../run/systemd/resolve/stub-resolv.conf", file) }},
		{name: "link", make: func(file string) error {
			if err := os.WriteFile(file+".elsewhere", []byte("theirs"), 0o644); err != nil {
				return err
			}
			return os.Symlink(file+".elsewhere", file)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "etc")
			file := filepath.Join(dir, "resolv.conf")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := tc.make(file); err != nil {
				t.Fatal(err)
			}
			if err := replace(file, []byte("new")); err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(file)
			if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != 0o644 {
				t.Errorf("mode %v, error %v", info.Mode(), err)
			}
			if b, err := os.ReadFile(file); err != nil || string(b) != "new" {
				t.Errorf("content %q, error %v", b, err)
			}
			if b, err := os.ReadFile(file + ".elsewhere"); err == nil && string(b) != "theirs" {
				t.Errorf("the link was followed")
			}
		})
	}
}

func TestResolvConf(t *testing.T) {
	got := string(resolvConf(proto.Network{Nameservers: []string{"10.0.2.3", "fd62::3"}, Search: []string{"vm", "lan"}}))
	if diff := cmp.Diff("nameserver 10.0.2.3\nnameserver fd62::3\nsearch vm lan\n", got); diff != "" {
		t.Error(diff)
	}
}

func TestFindPort(t *testing.T) {
	root := t.TempDir()
	sys, dev := filepath.Join(root, "sys"), filepath.Join(root, "dev")
	for path, text := range map[string]string{
		"sys/vport1p1/name": "other\n", "sys/vport2p1/name": "banger.agent\n", "sys/vport3p1/name": "early\n",
		"dev/vport1p1": "", "dev/vport2p1": "",
	} {
		file := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{proto.Port: dev + "/vport2p1", "early": "", "none": ""} {
		if got, err := findPort(sys, dev, name); err != nil || got != want {
			t.Errorf("%s: got %q, error %v", name, got, err)
		}
	}
}

func TestUnified(t *testing.T) {
	for _, tc := range []struct {
		name, text, want string
		ok               bool
	}{
		{name: "unified", text: "0::/system.slice/banger-agent.service\n", want: "/system.slice/banger-agent.service", ok: true},
		{name: "hybrid", text: "1:name=systemd:/a\n0::/b\n", want: "/b", ok: true},
		{name: "version 1 only", text: "2:cpu:/a\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got, ok := unified(tc.text); got != tc.want || ok != tc.ok {
				t.Errorf("got %q, %v", got, ok)
			}
		})
	}
}
