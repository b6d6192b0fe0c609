// Package names checks the names of VMs, images and kernels, and makes some up.
package names

import (
	"math/rand/v2"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
)

// Max is the longest name, in bytes.
const Max = 64

// Validate returns errdefs.ErrInvalid when name does not match [a-z0-9][a-z0-9-]{0,63}. kind ("vm") is what it names.
func Validate(kind, name string) error {
	if name != "" && len(name) <= Max && name[0] != '-' && legal(name) {
		return nil
	}
	return errdefs.WithHint(errdefs.New(errdefs.ErrInvalid, "%s name %q is not valid", kind, name),
		"use lower case letters, digits and hyphens, beginning with a letter or a digit, at most %d", Max)
}

func legal(name string) bool {
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// Generate makes up a name of two words, such as "amber-otter". There are some ten thousand of them: a caller that
// needs one that is free asks again.
func Generate() string {
	return adjectives[rand.IntN(len(adjectives))] + "-" + nouns[rand.IntN(len(nouns))] //nolint:gosec // a name is no secret
}
