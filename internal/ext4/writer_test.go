package ext4

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// mustAdd adds e with the content.
func mustAdd(t testing.TB, w *Writer, e Entry, content string) {
	t.Helper()
	e.Size = int64(len(content))
	if err := w.Add(e, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

func TestWriterKinds(t *testing.T) {
	for name, o := range map[string]Options{
		"exact":    {ReadOnly: true},
		"writable": {Size: 64 << 20, Journal: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newImage(t)
			w, err := NewWriter(f, o)
			if err != nil {
				t.Fatal(err)
			}
			now := time.Unix(1<<32+5, 123456789)
			mustAdd(t, w, Entry{Path: "etc/hello", Mode: 0o644, ModTime: now}, "hello\n")
			mustAdd(t, w, Entry{Path: "etc/big", Mode: 0o4755, ModTime: now}, strings.Repeat("0123456789abcdef", 1<<16))
			mustAdd(t, w, Entry{Path: "short", Type: Symlink, Mode: 0o777, Linkname: "etc/hello"}, "")
			mustAdd(t, w, Entry{Path: "long", Type: Symlink, Mode: 0o777, Linkname: strings.Repeat("x", 300)}, "")
			mustAdd(t, w, Entry{Path: "null", Type: CharDevice, Mode: 0o666, Major: 1, Minor: 3}, "")
			mustAdd(t, w, Entry{Path: "disk", Type: BlockDevice, Mode: 0o660, Major: 259, Minor: 1 << 18}, "")
			mustAdd(t, w, Entry{Path: "fifo", Type: FIFO, Mode: 0o600}, "")
			mustAdd(t, w, Entry{Path: "sock", Type: Socket, Mode: 0o600}, "")
			mustAdd(t, w, Entry{Path: "attrs", Xattrs: map[string][]byte{
				"user.small":          []byte("v"),
				"security.capability": bytes.Repeat([]byte{1}, 20),
				"user.large":          bytes.Repeat([]byte{2}, 2000),
				"trusted.x":           {},
			}}, "x")
			if err := w.Link("etc/hello2", "etc/hello"); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			fsck(t, f.Name())
		})
	}
}
