// Package recipe makes root file systems on this machine, each as one uncompressed tar stream.
package recipe

import (
	"context"
	"io"

	"github.com/banger-dev/banger/api"
)

// Recipe is one way to make a root file system.
type Recipe interface {
	// Name is the recipe's name, and that of images made by it unless they are given another.
	Name() string
	// Config is the configuration of its images.
	Config() api.ImageConfig
	// Open begins to make the file system. Temporary files are made below scratch only, which the caller removes, and
	// which is private to this call. When ctx ends, all work ends and Read fails.
	Open(ctx context.Context, scratch string) (Stream, error)
}

// Stream is a tar archive that is being made.
type Stream interface {
	io.Reader
	// Close ends all work. Once Read has returned io.EOF, it returns the error with which the work failed, if it did;
	// before, it breaks the work off. It must be called, and the archive counts only when it returns nil after io.EOF.
	Close() error
}

// Options are what the user may choose about recipes.
type Options struct {
	DebianMirror string // URL; empty: the host's own apt sources, else mmdebstrap's default
}

// All returns every recipe.
func All(o Options) []Recipe {
	return []Recipe{NewDebian(o.DebianMirror), NewMinimal()}
}
