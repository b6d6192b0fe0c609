package catalog

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/image/bundle"
	"github.com/banger-dev/banger/internal/names"
	"github.com/banger-dev/banger/internal/strictjson"
)

const (
	formatVersion = 1
	maxDocument   = 4 << 20 // bytes
	maxText       = 1024    // bytes
)

// document is a catalog as it is written.
type document struct {
	Format  int      `json:"format"`
	Entries []record `json:"entries"`
}

// record is an entry as it is written.
type record struct {
	Name        string `json:"name"`
	Kind        string `json:"kind"`
	URL         string `json:"url"`
	SHA256      string `json:"sha256"`
	Size        int64  `json:"size,omitempty"`
	Arch        string `json:"arch,omitempty"` // empty: bundle.Arch
	Distro      string `json:"distro,omitempty"`
	Version     string `json:"version,omitempty"`
	Description string `json:"description,omitempty"`
}

// parse reads the catalog that name is shown for and returns the entries for this machine. Their URLs are relative to at,
// which is nil for the catalog that is compiled in.
func parse(data []byte, name string, at *url.URL) ([]Entry, error) {
	entries, err := decode(data, at)
	if err != nil {
		return nil, errdefs.As(errdefs.ErrInvalid, fmt.Errorf("catalog %s: %w", name, err))
	}
	for i := range entries {
		entries[i].Catalog = name
	}
	return slices.DeleteFunc(entries, func(e Entry) bool { return e.Arch != bundle.Arch }), nil
}

func decode(data []byte, at *url.URL) ([]Entry, error) {
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, err
	}
	if head.Format != formatVersion {
		return nil, fmt.Errorf("format %d is not known", head.Format)
	}
	var d document
	if err := strictjson.Unmarshal(data, &d); err != nil {
		return nil, err
	}
	type key struct{ kind, name, arch string }
	seen := make(map[key]bool, len(d.Entries))
	entries := make([]Entry, 0, len(d.Entries))
	for i, r := range d.Entries {
		e, err := r.entry(at)
		if err != nil {
			return nil, fmt.Errorf("entry %d, %q: %w", i+1, r.Name, err)
		}
		k := key{e.Kind, e.Name, e.Arch}
		if seen[k] {
			return nil, fmt.Errorf("entry %d, %q: the name is there twice", i+1, r.Name)
		}
		seen[k] = true
		entries = append(entries, e)
	}
	return entries, nil
}

func (r record) entry(at *url.URL) (Entry, error) {
	if !slices.Contains(kinds, r.Kind) {
		return Entry{}, fmt.Errorf("its kind is %q, not %s", r.Kind, strings.Join(kinds, " or "))
	}
	if err := names.Validate(r.Kind, r.Name); err != nil {
		return Entry{}, err
	}
	digest, err := bundle.ParseDigest(r.SHA256)
	if err != nil {
		return Entry{}, err
	}
	if r.Size < 0 {
		return Entry{}, fmt.Errorf("it has %d bytes", r.Size)
	}
	for _, text := range []string{r.Arch, r.Distro, r.Version, r.Description} {
		if len(text) > maxText || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
			return Entry{}, fmt.Errorf("the text %.40q is too long or not printable", text)
		}
	}
	u, err := resolve(r.URL, at)
	if err != nil {
		return Entry{}, err
	}
	e := Entry{
		Name: r.Name, Kind: r.Kind, URL: u, SHA256: digest, Size: r.Size,
		Arch: r.Arch, Distro: r.Distro, Version: r.Version, Description: r.Description,
	}
	if e.Arch == "" {
		e.Arch = bundle.Arch
	}
	return e, nil
}

// resolve returns the absolute URL of a reference in the catalog at the given place. What comes over the network may not
// point to files of this machine.
func resolve(reference string, at *url.URL) (string, error) {
	u, err := url.Parse(reference)
	if err != nil || reference == "" {
		return "", fmt.Errorf("%q is not a URL", reference)
	}
	if at != nil {
		u = at.ResolveReference(u)
	}
	if err := checkURL(u); err != nil {
		return "", err
	}
	if u.Scheme == "file" && (at == nil || at.Scheme != "file") {
		return "", fmt.Errorf("%q is a file, but the catalog is not", reference)
	}
	return u.String(), nil
}
