package ext4

import (
	"fmt"
	"runtime"
	"testing"
)

func BenchmarkFormat(b *testing.B) {
	for name, size := range map[string]int64{"64GiB": 64 << 30, "1TiB": 1 << 40} {
		b.Run(name, func(b *testing.B) {
			f := newImage(b)
			for b.Loop() {
				if err := Format(f, Options{Size: size, Journal: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestMemoryOfManyFiles keeps the promise of half a KiB a file.
func TestMemoryOfManyFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("adds 500000 files")
	}
	f := newImage(t)
	before := heap()
	w, err := NewWriter(f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	const files = 500_000
	for i := range files {
		e := Entry{Path: fmt.Sprintf("some/directory-%d/with-a-name-of-usual-length-%d", i/20, i)}
		if i%10 == 0 {
			e.Xattrs = map[string][]byte{"user.n": fmt.Append(nil, i)}
		}
		if err := w.Add(e, nil); err != nil {
			t.Fatal(err)
		}
	}
	if used := heap() - before; used > 256<<20 {
		t.Errorf("%d files take %d MiB", files, used>>20)
	} else {
		t.Logf("%d files take %d MiB", files, used>>20)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
