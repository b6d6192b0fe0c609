package oci

import (
	"bytes"
	"context"
	"io"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// text is 64 MiB that compress to about a third, as file systems do.
func text() []byte {
	words := tarOf(1, 1<<20)
	for i := range words {
		words[i] = words[i]&7 + 'a'
	}
	return bytes.Repeat(words, 64)[:64<<20]
}

// BenchmarkDecode measures a layer from memory, both digests included, beside its lower bound: decompression alone.
func BenchmarkDecode(b *testing.B) {
	plain := text()
	for name, c := range map[string]struct {
		stored []byte
		bare   func(io.Reader) (io.Reader, error)
	}{
		"gzip": {gzipped(plain), func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
		"zstd": {zstded(plain), func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) }},
		"none": {plain, func(r io.Reader) (io.Reader, error) { return r, nil }},
	} {
		b.Run(name+"/verified", func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			d := v1.Descriptor{Digest: mustHash(c.stored), Size: int64(len(c.stored))}
			l := Layer{Size: d.Size, descriptor: d, diffID: mustHash(plain)}
			for b.Loop() {
				r, err := decode(b.Context(), l, Limits{}.withDefaults(), func(context.Context) (io.ReadCloser, error) {
					return verify(io.NopCloser(bytes.NewReader(c.stored)), d, nil)
				})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
				r.Close()
			}
		})
		b.Run(name+"/bare", func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			for b.Loop() {
				r, err := c.bare(bytes.NewReader(c.stored))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
