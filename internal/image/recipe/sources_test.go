package recipe

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func writeFiles(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestHostSources(t *testing.T) {
	const keyring = "\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string // the sources as deb822
	}{
		{name: "nothing"},
		{
			name: "deb822",
			files: map[string]string{"sources.list.d/debian.sources": `# a comment
Types: deb deb-src
# another
URIs: http://mirror.example/debian
 https://second.example/x/debian/
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
`},
			want: "Types: deb\nURIs: http://mirror.example/debian https://second.example/x/debian/\n" +
				"Suites: bookworm bookworm-updates\nComponents: main" + keyring +
				"\nTypes: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\nComponents: main" + keyring,
		},
		{
			name: "one line",
			files: map[string]string{"sources.list": `
deb http://mirror.example/debian bookworm main # the archive
#deb http://mirror.example/debian bookworm-updates main
deb-src http://mirror.example/debian bookworm main
deb	[ arch=amd64 Signed-By=/usr/share/keyrings/debian-archive-bookworm-stable.gpg ]  http://mirror.example/debian bookworm-updates main non-free-firmware
deb http://mirror.example/archive/debian/20250520T000000Z bookworm main
deb http://flat.example/debian ./
`},
			want: "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main" + keyring +
				"\nTypes: deb\nURIs: http://mirror.example/debian\nSuites: bookworm-updates\nComponents: main" +
				"\nSigned-By: /usr/share/keyrings/debian-archive-bookworm-stable.gpg\n" +
				"\nTypes: deb\nURIs: http://mirror.example/archive/debian/20250520T000000Z\nSuites: bookworm\nComponents: main" + keyring,
		},
		{
			name: "others' archives, other releases, what a guest cannot reach",
			files: map[string]string{
				"sources.list": `deb [signed-by=/etc/apt/keyrings/x.gpg] https://x.example/debian bookworm main
deb https://x.example/stable/tool bookworm main
deb http://mirror.example/debian trixie main
deb http://mirror.example/debian bookworm contrib
deb file:/srv/debian bookworm main
deb cdrom:[Debian 12]/ bookworm main`,
				"sources.list.d/off.sources": "Enabled: no\nTypes: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\n",
				"sources.list.d/key.sources": "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n xyz\n",
				"sources.list.d/old.save":    "deb http://mirror.example/debian bookworm main",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := hostSources(writeFiles(t, c.files), "bookworm")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, formatDeb822(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// checkSources checks that what is written for a guest can be read again and says the same.
func checkSources(t *testing.T, parsed []aptSource) {
	t.Helper()
	var ours []aptSource
	for _, s := range parsed {
		if s, ok := s.ofRelease("bookworm"); ok {
			ours = append(ours, s)
		}
	}
	again, err := parseDeb822(strings.NewReader(formatDeb822(ours)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ours, again); diff != "" {
		t.Error(diff)
	}
}

func FuzzDeb822(f *testing.F) {
	f.Add("Types: deb\nURIs: http://m.example/debian\nSuites: bookworm\nComponents: main\n")
	f.Fuzz(func(t *testing.T, text string) {
		if parsed, err := parseDeb822(strings.NewReader(text)); err == nil {
			checkSources(t, parsed)
		}
	})
}

func FuzzOneLine(f *testing.F) {
	f.Add("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://m.example/debian bookworm main\n")
	f.Fuzz(func(t *testing.T, text string) {
		if parsed, err := parseOneLine(strings.NewReader(text)); err == nil {
			checkSources(t, parsed)
		}
	})
}
