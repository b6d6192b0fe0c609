package image

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"

	"github.com/banger-dev/banger/internal/image/oci"
)

// namesFor returns the names that an image of a reference may have, the best first: that of docker.io/library/alpine:3.20
// is alpine-3-20, or alpine-3-20-1f2e3d where another has it. The last one is that reference's alone.
func namesFor(reference string) []string {
	r, err := oci.ParseReference(reference)
	if err != nil {
		r = oci.Reference{Path: reference}
	}
	base := path.Base(r.Repo)
	if r.Kind != oci.Registry {
		base = strings.TrimSuffix(strings.TrimSuffix(path.Base(r.Path), path.Ext(r.Path)), ".tar")
	}
	switch {
	case r.Tag != "" && r.Tag != "latest":
		base += "-" + r.Tag
	case r.Digest != "":
		_, hash, _ := strings.Cut(r.Digest, ":")
		base += "-" + hash[:min(12, len(hash))]
	}
	digest := sha256.Sum256([]byte(reference))
	name := plain(base, 56)
	return []string{name, name + "-" + hex.EncodeToString(digest[:3])}
}

// plain makes a name of at most limit bytes out of any text.
func plain(text string, limit int) string {
	name := strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			return c
		case 'A' <= c && c <= 'Z':
			return c - 'A' + 'a'
		}
		return '-'
	}, text)
	name = strings.Trim(name[:min(limit, len(name))], "-")
	if name == "" {
		return "image"
	}
	return name
}
