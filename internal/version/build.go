package version

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"sync"
)

// executable is the running program's file, also after another one has been put in its place.
const executable = "/proc/self/exe"

// Build identifies the running executable: two different builds have different values.
//
// It is a digest of the Go build id, which covers the content of the executable and is read in a millisecond. Only an
// executable that was linked without one is read whole.
var Build = sync.OnceValues(func() (string, error) {
	f, err := os.Open(executable)
	if err != nil {
		return "", fmt.Errorf("identify the executable: %w", err)
	}
	defer func() { _ = f.Close() }() // read-only
	digest := sha256.New()
	if id := buildID(f); len(id) > 0 {
		digest.Write(id)
	} else if _, err := io.Copy(digest, f); err != nil {
		return "", fmt.Errorf("identify the executable: %w", err)
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
})

// buildID returns the ELF note that the Go linker writes, or nil.
func buildID(f *os.File) []byte {
	file, err := elf.NewFile(f)
	if err != nil {
		return nil
	}
	note := file.Section(".note.go.buildid")
	if note == nil {
		return nil
	}
	id, err := note.Data()
	const header = 16 // namesz, descsz, type and "Go\0\0"
	if err != nil || len(id) <= header {
		return nil
	}
	return id[header:]
}
