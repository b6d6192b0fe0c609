package qemu

import (
	"bytes"
	"io"
	"regexp"

	"github.com/banger-dev/banger/internal/vmm/child"
)

// consoleTail is how much of the console is kept to find a panic in. A panic with its register dump and stack is
// some 4 KiB.
const consoleTail = 32 << 10

// console passes on what the guest writes, and keeps the end.
type console struct {
	reader *io.PipeReader
	tail   *child.Ring
	ended  chan struct{} // closed after the last byte was read from the VMM
}

// newConsole starts a goroutine that ends with from.
func newConsole(from io.Reader) *console {
	r, w := io.Pipe()
	c := &console{reader: r, tail: child.NewRing(consoleTail), ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		_, err := io.Copy(w, io.TeeReader(from, c.tail))
		_ = w.CloseWithError(err) // nil is io.EOF
	}()
	return c
}

var panicLine = regexp.MustCompile(`Kernel panic - not syncing: [^\r\n]{1,200}`)

// panicked returns the kernel's panic message, or "".
func (c *console) panicked() string {
	matches := panicLine.FindAll(bytes.ToValidUTF8(c.tail.Bytes(), []byte("?")), -1)
	if len(matches) == 0 {
		return ""
	}
	return string(matches[len(matches)-1])
}
