package account

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const passwd = `# comment
root:x:0:0:root:/root:/bin/bash
bad:x:notanumber:0::/:/bin/sh
short:x:1
dev:x:1000:1000:Dev,,,:/home/dev:/bin/zsh
4242:x:7:7::/seven:/bin/seven
bare:x:9:9:::
`

const group = `root:x:0:
tty:x:5:
sudo:x:27:other,dev
docker:x:999:dev
broken:x
`

func TestLookup(t *testing.T) {
	dir := t.TempDir()
	db := Database{Passwd: filepath.Join(dir, "passwd"), Group: filepath.Join(dir, "group")}
	for path, text := range map[string]string{db.Passwd: passwd, db.Group: group} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	absent := Database{Passwd: filepath.Join(dir, "no"), Group: filepath.Join(dir, "no")}
	root := User{Name: "root", Home: "/root", Shell: "/bin/bash"}
	for _, c := range []struct {
		name string
		db   Database
		spec string
		want User
		err  error
	}{
		{name: "empty is root", db: db, want: root},
		{name: "by name", db: db, spec: "root", want: root},
		{name: "groups", db: db, spec: "dev", want: User{Name: "dev", UID: 1000, GID: 1000, Groups: []uint32{27, 999}, Home: "/home/dev", Shell: "/bin/zsh"}},
		{name: "by uid", db: db, spec: "1000", want: User{Name: "dev", UID: 1000, GID: 1000, Groups: []uint32{27, 999}, Home: "/home/dev", Shell: "/bin/zsh"}},
		{name: "a name of digits comes before the uid", db: db, spec: "4242", want: User{Name: "4242", UID: 7, GID: 7, Home: "/seven", Shell: "/bin/seven"}},
		{name: "group by name", db: db, spec: "dev:tty", want: User{Name: "dev", UID: 1000, GID: 5, Home: "/home/dev", Shell: "/bin/zsh"}},
		{name: "group by number", db: db, spec: "1000:12", want: User{Name: "dev", UID: 1000, GID: 12, Home: "/home/dev", Shell: "/bin/zsh"}},
		{name: "uid without an entry", db: db, spec: "5000", want: User{UID: 5000, Home: "/", Shell: "/bin/sh"}},
		{name: "empty fields", db: db, spec: "bare", want: User{Name: "bare", UID: 9, GID: 9, Home: "/", Shell: "/bin/sh"}},
		{name: "root without files", db: absent, want: User{Name: "root", Home: "/root", Shell: "/bin/sh"}},
		{name: "root by name without files", db: absent, spec: "root", want: User{Name: "root", Home: "/root", Shell: "/bin/sh"}},
		{name: "unknown user", db: db, spec: "nobody", err: ErrUnknown},
		{name: "unknown group", db: db, spec: "dev:nogroup", err: ErrUnknown},
		{name: "id of no user", db: db, spec: "4294967295", err: ErrUnknown},
		{name: "entry without a number", db: db, spec: "bad", err: ErrUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.db.Lookup(c.spec)
			if !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func FuzzLookup(f *testing.F) {
	f.Add(passwd, 7)
	f.Add(group, 3)
	f.Add("a:b\n\x00:::::::", 1)
	f.Fuzz(func(t *testing.T, text string, want int) {
		_ = eachField(strings.NewReader(text), want, func(fields []string) bool {
			if len(fields) < want {
				t.Fatalf("%d fields, want %d", len(fields), want)
			}
			return true
		})
	})
}
