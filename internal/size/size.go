// Package size reads and writes amounts of memory and disk as people do. Units are binary: K is KiB, 1024 bytes.
package size

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
)

const units = "KMGTPE"

// Parse reads a number of bytes: digits, perhaps a fraction, perhaps a unit of K, M, G, T, P, E or KiB, MiB, GiB and
// so on, in any case ("512M", "1.5GiB", "1048576", "20B"). A text that is none, is not a whole number of bytes or is
// over 2^63-1 is errdefs.ErrInvalid.
func Parse(text string) (int64, error) {
	number, shift, ok := split(strings.TrimSpace(text))
	if !ok || len(number) > 40 {
		return 0, invalid(text, "not a size")
	}
	n, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, invalid(text, "not a size")
	}
	n.Mul(n, new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), shift)))
	switch {
	case !n.IsInt():
		return 0, invalid(text, "not a whole number of bytes")
	case !n.Num().IsInt64():
		return 0, invalid(text, "too large")
	}
	return n.Num().Int64(), nil
}

// split parts text into decimal digits with at most one point between them, and the unit as a power of two.
func split(text string) (number string, shift uint, ok bool) {
	end := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		end = len(text)
	}
	number = text[:end]
	if number == "" || strings.Count(number, ".") > 1 || number[0] == '.' || number[len(number)-1] == '.' {
		return "", 0, false
	}
	unit := strings.ToUpper(strings.TrimLeft(text[end:], " "))
	if unit == "" || unit == "B" {
		return number, 0, true
	}
	i := strings.IndexByte(units, unit[0])
	if i < 0 || (unit[1:] != "" && unit[1:] != "IB") {
		return "", 0, false
	}
	return number, uint(i+1) * 10, true
}

func invalid(text, why string) error {
	return errdefs.WithHint(errdefs.New(errdefs.ErrInvalid, "size %q: %s", text, why),
		"write it as 512M, 2G, 512MiB, 1.5GiB or as bytes")
}

// Format writes n bytes with the largest unit that keeps a whole part, to one decimal: "1.5GiB", "512MiB", "20B".
func Format(n int64) string {
	if n < 1024 {
		return strconv.FormatInt(n, 10) + "B"
	}
	value, unit := float64(n), -1
	for value >= 1024 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	tenths := math.Round(value * 10)
	if tenths >= 10240 && unit < len(units)-1 { // 1023.96KiB rounds to 1MiB
		tenths, unit = 10, unit+1
	}
	return strings.TrimSuffix(strconv.FormatFloat(tenths/10, 'f', 1, 64), ".0") + units[unit:unit+1] + "iB"
}
