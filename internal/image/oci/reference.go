package oci

import (
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/banger-dev/banger/internal/errdefs"
)

// Kind tells where an image is.
type Kind string

// The kinds. All but Registry are also the prefix of their references.
const (
	Registry      Kind = "docker"
	Layout        Kind = "oci"            // a directory, OCI image layout
	OCIArchive    Kind = "oci-archive"    // a tar of such a directory
	DockerArchive Kind = "docker-archive" // what `docker save` writes
	Archive       Kind = "archive"        // either of the two
)

// Reference names an image, as precisely as the user did.
type Reference struct {
	Kind   Kind
	Host   string // of the registry: "docker.io", "localhost:5000"
	Repo   string // in the registry: "library/alpine"
	Path   string // of the directory or file
	Tag    string // empty with a Digest, or where a directory or file has one image
	Digest string // sha256:…, of a manifest or index
}

// ParseReference reads a reference in one of the forms that [Request] lists. Names are completed as docker does:
// "alpine" is docker.io/library/alpine:latest.
func ParseReference(s string) (Reference, error) {
	for _, kind := range []Kind{Layout, OCIArchive, DockerArchive, Archive} {
		if rest, ok := strings.CutPrefix(s, string(kind)+":"); ok && !looksLikeTag(kind, rest) {
			return parsePath(kind, rest)
		}
	}
	return parseName(strings.TrimPrefix(s, "docker://"))
}

// looksLikeTag tells image "archive", tag "1.2" from the file "1.2": an image could be called as a kind is.
// For the kinds with skopeo's names skopeo's meaning is right.
func looksLikeTag(kind Kind, rest string) bool {
	return kind == Archive && !strings.Contains(rest, "/")
}

// parsePath splits DIR[:tag] at the first colon, as skopeo does, because a tag in a layout may hold more of them.
func parsePath(kind Kind, s string) (Reference, error) {
	r := Reference{Kind: kind}
	if path, digest, ok := strings.Cut(s, "@"); ok && strings.HasPrefix(digest, "sha") {
		if !validDigest(digest) {
			return Reference{}, errdefs.New(errdefs.ErrInvalid, "image reference %q: %q is not a digest", string(kind)+":"+s, digest)
		}
		r.Path, r.Digest = path, digest
	} else {
		r.Path, r.Tag, _ = strings.Cut(s, ":")
	}
	if r.Path == "" || strings.ContainsRune(s, 0) {
		return Reference{}, errdefs.New(errdefs.ErrInvalid, "image reference %q: a path is required", string(kind)+":"+s)
	}
	return r, nil
}

func parseName(s string) (Reference, error) {
	if strings.Contains(s, "://") {
		return Reference{}, errdefs.WithHint(
			errdefs.New(errdefs.ErrInvalid, "image reference %q: it is a URL", scrub(s)),
			"write it as HOST/NAME:TAG, and credentials into a file with docker login or podman login")
	}
	if s == "" {
		return Reference{}, errdefs.New(errdefs.ErrInvalid, "image reference is empty")
	}
	parsed, err := name.ParseReference(s)
	if err != nil {
		return Reference{}, badName(s, "it is not NAME[:TAG][@sha256:…]")
	}
	repo := parsed.Context()
	r := Reference{Kind: Registry, Host: displayHost(repo.RegistryStr()), Repo: repo.RepositoryStr()}
	switch p := parsed.(type) {
	case name.Tag:
		r.Tag = p.TagStr()
		if !validTag(r.Tag) {
			return Reference{}, badName(s, "the tag is not letters, digits, _, . and -")
		}
	case name.Digest:
		r.Digest = p.DigestStr()
		if !validDigest(r.Digest) {
			return Reference{}, badName(s, "the digest is not sha256:… or sha512:…")
		}
	}
	if !validHost(r.Host) {
		return Reference{}, badName(s, "the registry is not HOST[:PORT]")
	}
	for part := range strings.SplitSeq(r.Repo, "/") {
		if !validComponent(part) {
			return Reference{}, badName(s, "the name is not lower-case words separated by /, ., _ and -")
		}
	}
	return r, nil
}

func badName(s, why string) error {
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return errdefs.New(errdefs.ErrInvalid, "image reference %q: %s", scrub(s), why)
}

// String returns the whole name: docker.io/library/alpine:latest.
func (r Reference) String() string {
	s := string(r.Kind) + ":" + r.Path
	if r.Kind == Registry {
		s = r.Host + "/" + r.Repo
	}
	if r.Digest != "" {
		return s + "@" + r.Digest
	}
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	return s
}

// Absolute returns reference with its path, if it has one, taken from dir when it is relative. Whoever knows the user's
// working directory calls it: this package's process has another.
func Absolute(reference, dir string) string {
	r, err := ParseReference(reference)
	if err != nil || r.Kind == Registry || filepath.IsAbs(r.Path) {
		return reference
	}
	r.Path = filepath.Join(dir, r.Path)
	return r.String()
}

// displayHost is the name that users know Docker Hub by.
func displayHost(host string) string {
	if host == name.DefaultRegistry || host == "registry-1.docker.io" {
		return "docker.io"
	}
	return host
}

// validHost refuses what could be more than a host and a port in a URL.
func validHost(s string) bool {
	for _, c := range []byte(s) {
		if !isAlnum(c) && !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZ.-_:[]", rune(c)) {
			return false
		}
	}
	return s != ""
}

// validComponent follows the distribution specification: [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*.
func validComponent(s string) bool {
	if s == "" || !isAlnum(s[0]) || !isAlnum(s[len(s)-1]) {
		return false
	}
	for i := 0; i < len(s); {
		if isAlnum(s[i]) {
			i++
			continue
		}
		start := i
		for !isAlnum(s[i]) { // ends: the last byte is alphanumeric
			i++
		}
		switch sep := s[start:i]; {
		case sep == ".", sep == "_", sep == "__", strings.Trim(sep, "-") == "":
		default:
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

func validTag(s string) bool {
	if s == "" || len(s) > 128 || s[0] == '.' || s[0] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if !isAlnum(c) && (c < 'A' || c > 'Z') && c != '_' && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

func validDigest(s string) bool {
	_, err := v1.NewHash(s)
	return err == nil
}
