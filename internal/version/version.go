// Package version holds what the build stamped into the executable.
package version

// Version is set by the linker: git describe, or "dev" for a plain go build.
var Version = "dev"
