package recipe

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// debianKeyring verifies Debian's archive, on the host and in guests. The package debian-archive-keyring has it.
const debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// aptSource is one stanza of deb822 sources (sources.list(5)).
type aptSource struct {
	Types, URIs, Suites, Components []string
	SignedBy                        string // path of a keyring or an armored key; empty: apt's trusted keys
	Disabled                        bool
}

// hostSources returns the sources of the directory etc/apt that serve Debian's own archive of the release.
func hostSources(etcApt, release string) ([]aptSource, error) {
	files, err := filepath.Glob(filepath.Join(etcApt, "sources.list.d", "*"))
	if err != nil {
		return nil, err
	}
	var found []aptSource
	for _, file := range append([]string{filepath.Join(etcApt, "sources.list")}, files...) {
		parse := parseOneLine
		switch {
		case filepath.Ext(file) == ".sources":
			parse = parseDeb822
		case filepath.Ext(file) != ".list":
			continue
		}
		f, err := os.Open(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read apt sources: %w", err)
		}
		sources, err := parse(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("read apt sources %s: %w", file, err)
		}
		for _, s := range sources {
			if s, ok := s.ofRelease(release); ok {
				found = append(found, s)
			}
		}
	}
	return found, nil
}

// ofRelease reduces a source to what it has of Debian's own archive of the release.
func (s aptSource) ofRelease(release string) (aptSource, bool) {
	if s.Disabled || !slices.Contains(s.Types, "deb") || !slices.Contains(s.Components, "main") {
		return aptSource{}, false
	}
	if s.SignedBy != "" && !debianKeys.MatchString(s.SignedBy) {
		return aptSource{}, false // someone else's
	}
	of := aptSource{Types: []string{"deb"}, Components: []string{"main"}, SignedBy: s.SignedBy}
	if of.SignedBy == "" {
		of.SignedBy = debianKeyring
	}
	for _, u := range s.URIs {
		if debianArchive(u) {
			of.URIs = append(of.URIs, u)
		}
	}
	for _, suite := range s.Suites {
		if slices.Contains([]string{release, release + "-updates", release + "-security"}, suite) {
			of.Suites = append(of.Suites, suite)
		}
	}
	return of, len(of.URIs) > 0 && len(of.Suites) > 0
}

// debianKeys are the files of debian-archive-keyring.
var debianKeys = regexp.MustCompile(`^/usr/share/keyrings/debian-archive-[a-z0-9-]+\.(gpg|asc|pgp)$`)

var snapshot = regexp.MustCompile(`^\d{8}T\d{6}Z$`)

// debianArchive tells whether a URI can be that of Debian's archive, reachable from a guest: by HTTP and with a path
// that ends as mirrors', or snapshots' of one, do.
func debianArchive(uri string) bool {
	u, err := url.Parse(uri)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") {
		return false
	}
	p := path.Clean(u.Path)
	if snapshot.MatchString(path.Base(p)) {
		p = path.Dir(p)
	}
	return path.Base(p) == "debian" || path.Base(p) == "debian-security"
}

// parseOneLine reads sources in the style of sources.list: type, options in brackets, URI, suite, components.
func parseOneLine(r io.Reader) ([]aptSource, error) {
	var sources []aptSource
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		kind, rest, _ := strings.Cut(strings.Join(strings.Fields(line), " "), " ")
		s := aptSource{Types: []string{kind}}
		if options, after, ok := strings.Cut(rest, "]"); ok && strings.HasPrefix(rest, "[") {
			for _, option := range strings.Fields(options[1:]) {
				if key, value, _ := strings.Cut(option, "="); strings.EqualFold(key, "signed-by") {
					s.SignedBy = value
				}
			}
			rest = after
		}
		fields := strings.Fields(rest)
		if len(fields) < 3 {
			continue // a comment, or a flat repository, which Debian's is not
		}
		s.URIs, s.Suites, s.Components = fields[:1], fields[1:2], fields[2:]
		sources = append(sources, s)
	}
	return sources, lines.Err()
}

// parseDeb822 reads sources in the deb822 style: stanzas of fields, parted by empty lines.
func parseDeb822(r io.Reader) ([]aptSource, error) {
	var sources []aptSource
	fields := map[string]string{}
	last := ""
	flush := func() {
		if len(fields) > 0 {
			sources = append(sources, stanza(fields))
		}
		fields, last = map[string]string{}, ""
	}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		switch key, value, ok := strings.Cut(line, ":"); {
		case strings.TrimSpace(line) == "":
			flush()
		case line[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			fields[last] += "\n" + strings.TrimSpace(line)
		case ok:
			last = strings.ToLower(strings.TrimSpace(key))
			fields[last] = strings.TrimSpace(value)
		}
	}
	flush()
	return sources, lines.Err()
}

func stanza(fields map[string]string) aptSource {
	return aptSource{
		Types: strings.Fields(fields["types"]), URIs: strings.Fields(fields["uris"]),
		Suites: strings.Fields(fields["suites"]), Components: strings.Fields(fields["components"]),
		SignedBy: strings.TrimSpace(fields["signed-by"]),
		Disabled: slices.Contains([]string{"no", "false", "0", "off"}, strings.ToLower(fields["enabled"])),
	}
}

// formatDeb822 writes sources for apt. The keyring is always named, so that no other key of the guest's will do.
func formatDeb822(sources []aptSource) string {
	var b strings.Builder
	for i, s := range sources {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "Types: %s\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: %s\n", strings.Join(s.Types, " "),
			strings.Join(s.URIs, " "), strings.Join(s.Suites, " "), strings.Join(s.Components, " "), s.SignedBy)
	}
	return b.String()
}
