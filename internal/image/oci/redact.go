package oci

import "strings"

// scrub takes out of a text what may be secret in a URL: the user and password, and the query, in which the storage
// behind registries puts signatures.
func scrub(s string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "://")
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i+3])
		s = s[i+3:]
		end := strings.IndexAny(s, " \t\r\n\"'<>`")
		if end < 0 {
			end = len(s)
		}
		b.WriteString(scrubURL(s[:end]))
		s = s[end:]
	}
}

// scrubURL works on a URL without its scheme.
func scrubURL(u string) string {
	if i := strings.IndexAny(u, "?#"); i >= 0 {
		tail := ""
		if strings.HasSuffix(u, ":") { // the colon of "GET url: cause"
			tail = ":"
		}
		u = u[:i] + "?…" + tail
	}
	authority, rest, slash := strings.Cut(u, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = "…@" + authority[i+1:]
	}
	if slash {
		return authority + "/" + rest
	}
	return authority
}

// scrubbed is an error whose text can be shown and whose causes are still there for errors.Is.
type scrubbed struct {
	text string
	err  error
}

func (e *scrubbed) Error() string { return e.text }
func (e *scrubbed) Unwrap() error { return e.err }

// scrubError makes the text of an error from the HTTP client or a registry fit to be shown: one printable line of
// bounded length and without secrets.
func scrubError(err error) error {
	if err == nil {
		return nil
	}
	text, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	text = scrub(printable(text))
	if len(text) > 400 {
		text = strings.ToValidUTF8(text[:400], "") + "…"
	}
	return &scrubbed{text: text, err: err}
}

// printable replaces control characters, which could play tricks on a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
