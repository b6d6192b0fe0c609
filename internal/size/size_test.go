package size

import (
	"errors"
	"math"
	"testing"

	"github.com/banger-dev/banger/internal/errdefs"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "20B": 20, "1048576": 1 << 20,
		"4K": 4096, "4k": 4096, "4KiB": 4096, "4kib": 4096, " 4 KiB ": 4096,
		"512M": 512 << 20, "1G": 1 << 30, "1.5G": 3 << 29, "0.5KiB": 512, "2TiB": 2 << 40, "1P": 1 << 50, "7E": 7 << 60,
		"9223372036854775807": math.MaxInt64,
	} {
		if got, err := Parse(text); err != nil || got != want {
			t.Errorf("Parse(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"", " ", "G", "-1", "+1", "1.", ".5", "1..5", "1.2.3", "1e3", "0x10", "1GB", "1Gi", "1GiBs", "1X", "1 G B",
		"8E", "9223372036854775808", "0.3", "0.0001K", "1/2", "١",
	} {
		_, err := Parse(text)
		if !errors.Is(err, errdefs.ErrInvalid) || errdefs.Hint(err) == "" {
			t.Errorf("Parse(%q): %v, want an invalid error with a hint", text, err)
		}
	}
}

func TestFormat(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0B", 1023: "1023B", 1024: "1KiB", 1536: "1.5KiB", 512 << 20: "512MiB", 3 << 29: "1.5GiB", 16 << 30: "16GiB",
		1<<20 - 1: "1MiB", 1<<30 - 1: "1GiB", math.MaxInt64: "8EiB", -1024: "-1024B",
	} {
		if got := Format(n); got != want {
			t.Errorf("Format(%d) = %q, want %q", n, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("1.5GiB")
	f.Fuzz(func(t *testing.T, text string) {
		n, err := Parse(text)
		if err == nil && n < 0 {
			t.Fatalf("Parse(%q) = %d", text, n)
		}
	})
}
