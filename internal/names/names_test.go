package names

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/banger-dev/banger/internal/errdefs"
)

func TestValidate(t *testing.T) {
	tests := map[string]struct {
		name string
		ok   bool
	}{
		"one letter":     {"a", true},
		"digit first":    {"0a", true},
		"hyphens":        {"a--b-", true},
		"longest":        {strings.Repeat("a", 64), true},
		"too long":       {strings.Repeat("a", 65), false},
		"empty":          {"", false},
		"hyphen first":   {"-a", false},
		"upper case":     {"Box", false},
		"dot":            {"a.b", false},
		"slash":          {"a/b", false},
		"newline":        {"a\n", false},
		"space inside":   {"a b", false},
		"not ASCII":      {"bär", false},
		"illegal inside": {"a_b", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := Validate("vm", tt.name)
			if (err == nil) != tt.ok {
				t.Fatalf("Validate(%q) = %v", tt.name, err)
			}
			if err != nil && (!errors.Is(err, errdefs.ErrInvalid) || errdefs.Hint(err) == "") {
				t.Errorf("Validate(%q) = %v without class or hint", tt.name, err)
			}
		})
	}
}

func TestGenerate(t *testing.T) {
	for kind, words := range map[string][]string{"adjectives": adjectives, "nouns": nouns} {
		if len(words) < 100 {
			t.Errorf("%d %s, want at least 100", len(words), kind)
		}
		for _, w := range words {
			if err := Validate("vm", w); err != nil || strings.Contains(w, "-") {
				t.Errorf("%q among the %s", w, kind)
			}
		}
		if sorted := slices.Sorted(slices.Values(words)); len(slices.Compact(sorted)) != len(words) {
			t.Errorf("a word occurs twice among the %s", kind)
		}
	}
	if name := Generate(); Validate("vm", name) != nil || strings.Count(name, "-") != 1 {
		t.Errorf("Generate = %q", name)
	}
}
