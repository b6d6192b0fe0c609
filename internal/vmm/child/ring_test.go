package child

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestRingKeepsTheEnd(t *testing.T) {
	r := NewRing(100)
	var all []byte
	source := rand.NewChaCha8([32]byte{})
	for i := range 500 {
		p := make([]byte, i%37*i%211)
		_, _ = source.Read(p)
		all = append(all, p...)
		if n, err := r.Write(p); n != len(p) || err != nil {
			t.Fatalf("write %d bytes: %d, %v", len(p), n, err)
		}
		if want := all[max(0, len(all)-100):]; !bytes.Equal(r.Bytes(), want) {
			t.Fatalf("after %d bytes: kept % x, want % x", len(all), r.Bytes(), want)
		}
		if cap(r.data) > 1000 {
			t.Fatalf("%d bytes of memory to keep 100", cap(r.data))
		}
	}
}

func TestRingLastLines(t *testing.T) {
	r := NewRing(100)
	_, _ = r.Write([]byte("one\n\n two \r\nthree\nfour"))
	for n, want := range map[int]string{0: "", 1: "four", 2: "three; four", 9: "one; two; three; four"} {
		if got := r.LastLines(n); got != want {
			t.Errorf("last %d lines: %q, want %q", n, got, want)
		}
	}
}
