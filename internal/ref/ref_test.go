package ref

import (
	"errors"
	"testing"

	"github.com/banger-dev/banger/internal/errdefs"
)

type thing struct{ id, name string }

func TestResolve(t *testing.T) {
	things := []thing{
		{"aa11", "web"}, {"aa22", "web-old"}, {"bb33", "aa11"}, {"cc44", "db"}, {"db55", "cache"},
	}
	for _, c := range []struct {
		name, reference string
		want            string // id
		class           error
		text            string
	}{
		{name: "exact name", reference: "web", want: "aa11"},
		{name: "a name beats an id", reference: "aa11", want: "bb33"},
		{name: "a name beats a prefix", reference: "db", want: "cc44"},
		{name: "exact id", reference: "aa22", want: "aa22"},
		{name: "prefix of a name", reference: "cac", want: "db55"},
		{name: "prefix of an id", reference: "cc", want: "cc44"},
		{name: "empty", class: errdefs.ErrInvalid, text: "image id or name is required"},
		{name: "absent", reference: "x", class: errdefs.ErrNotFound, text: `image "x" not found`},
		{
			name: "ambiguous", reference: "we", class: errdefs.ErrAmbiguous,
			text: `multiple images match "we": web, web-old`,
		},
		{
			name: "ambiguous between a name and an id", reference: "d", class: errdefs.ErrAmbiguous,
			text: `multiple images match "d": cache, db`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Resolve("image", things, func(t thing) (string, string) { return t.id, t.name }, c.reference)
			if got.id != c.want || !errors.Is(err, c.class) {
				t.Fatalf("got %v, %v", got, err)
			}
			if err != nil && err.Error() != c.text {
				t.Errorf("got text %q, want %q", err, c.text)
			}
		})
	}
}

func TestResolveNamesFew(t *testing.T) {
	var things []thing
	for _, c := range "abcdefghijkl" {
		things = append(things, thing{name: "vm-" + string(c)})
	}
	_, err := Resolve("vm", things, func(t thing) (string, string) { return t.id, t.name }, "vm")
	want := `multiple vms match "vm": vm-a, vm-b, vm-c, vm-d, vm-e, vm-f, vm-g, vm-h, ...`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
