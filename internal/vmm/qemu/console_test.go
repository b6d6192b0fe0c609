package qemu

import (
	"io"
	"strings"
	"testing"
)

func TestConsoleFindsThePanic(t *testing.T) {
	const message = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"
	for _, one := range []struct{ name, text, want string }{
		{"none", "hello\r\nworld\r\n", ""},
		{"at the end", "[    1.0] " + message + "\r\nCall Trace:\r\n", message},
		{"not UTF-8", "\xff\xfe " + message + "\r\n", message},
		{"long ago", message + "\r\n" + strings.Repeat("x", 2*consoleTail), ""},
		{"the last counts", "Kernel panic - not syncing: first\r\n" + message + "\r\n", message},
	} {
		t.Run(one.name, func(t *testing.T) {
			c := newConsole(strings.NewReader(one.text))
			text, err := io.ReadAll(c.reader)
			if err != nil || string(text) != one.text {
				t.Errorf("passed on %d bytes of %d, %v", len(text), len(one.text), err)
			}
			<-c.ended
			if got := c.panicked(); got != one.want {
				t.Errorf("got %q, want %q", got, one.want)
			}
		})
	}
}
