package oci

import (
	"cmp"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/banger-dev/banger/internal/errdefs"
)

// parsePlatform reads os/arch[/variant]. Without one it is linux on this machine's processor.
func parsePlatform(s string) (v1.Platform, error) {
	if s == "" {
		return normal(v1.Platform{OS: "linux", Architecture: runtime.GOARCH}), nil
	}
	parts := strings.Split(strings.ToLower(s), "/")
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return v1.Platform{}, errdefs.WithHint(
			errdefs.New(errdefs.ErrInvalid, "platform %q is not OS/ARCH[/VARIANT]", s), "for example linux/amd64")
	}
	p := v1.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	if p.OS != "linux" {
		return v1.Platform{}, errdefs.New(errdefs.ErrInvalid, "platform %q: only linux images can be booted", s)
	}
	return normal(p), nil
}

// normal gives an architecture its one name and a variant that is implied: arm64 is arm64/v8, arm is arm/v7,
// amd64 is amd64/v1.
func normal(p v1.Platform) v1.Platform {
	switch strings.ToLower(p.Architecture) {
	case "x86_64", "x86-64", "amd64":
		p.Architecture, p.Variant = "amd64", cmp.Or(p.Variant, "v1")
	case "aarch64", "arm64":
		p.Architecture, p.Variant = "arm64", cmp.Or(p.Variant, "v8")
	case "armhf", "arm":
		p.Architecture, p.Variant = "arm", cmp.Or(p.Variant, "v7")
	case "i386", "386":
		p.Architecture, p.Variant = "386", ""
	}
	if !strings.HasPrefix(p.Variant, "v") && p.Variant != "" {
		p.Variant = "v" + p.Variant
	}
	return v1.Platform{OS: strings.ToLower(p.OS), Architecture: p.Architecture, Variant: strings.ToLower(p.Variant)}
}

// fit says how well an image for platform have runs on want: 0 exactly, more the older its variant is, and not at all
// for another system, processor or a newer variant.
func fit(want, have v1.Platform) (distance int, ok bool) {
	have = normal(have)
	if have.OS != want.OS || have.Architecture != want.Architecture {
		return 0, false
	}
	if have.Variant == want.Variant {
		return 0, true
	}
	distance = strings.Compare(want.Variant, have.Variant)
	if len(want.Variant) == 2 && len(have.Variant) == 2 { // v5 … v9
		distance = int(want.Variant[1]) - int(have.Variant[1])
	}
	return distance, distance > 0
}

// choose returns the manifest of an index that fits want best. Attestations, which builders put beside images, are no
// candidates.
func choose(index []v1.Descriptor, want v1.Platform) (v1.Descriptor, error) {
	var best *v1.Descriptor
	bestDistance := 0
	var unmarked, offered []v1.Descriptor
	for i, d := range index {
		if isAttestation(d) {
			continue
		}
		offered = append(offered, d)
		if d.Platform == nil || d.Platform.OS == "" {
			unmarked = append(unmarked, d)
			continue
		}
		distance, ok := fit(want, *d.Platform)
		if ok && (best == nil || distance < bestDistance) {
			best, bestDistance = &index[i], distance
		}
	}
	if best != nil {
		return *best, nil
	}
	if len(unmarked) == 1 { // its configuration tells, and is checked
		return unmarked[0], nil
	}
	return v1.Descriptor{}, errdefs.WithHint(
		errdefs.New(errdefs.ErrNotFound, "it has nothing for platform %s", platformName(want)),
		"it is for %s", platformNames(offered))
}

func isAttestation(d v1.Descriptor) bool {
	if d.Annotations["vnd.docker.reference.type"] != "" {
		return true
	}
	return d.Platform != nil && d.Platform.OS == "unknown"
}

// platformNames lists what descriptors are for, sorted; at most 20, because there may be thousands.
func platformNames(ds []v1.Descriptor) string {
	var names []string
	for _, d := range ds {
		if d.Platform != nil && d.Platform.OS != "" {
			names = append(names, printable(d.Platform.String()))
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > 20 {
		names = append(names[:20], "others")
	}
	if len(names) == 0 {
		return "no platform that it names"
	}
	return strings.Join(names, ", ")
}

func platformName(p v1.Platform) string {
	if p.Architecture == "amd64" && p.Variant == "v1" || p.Architecture == "arm64" && p.Variant == "v8" {
		p.Variant = ""
	}
	return p.String()
}
