// Package ref finds the one thing that a user's reference names. Images, kernels and VMs are looked up alike.
package ref

import (
	"slices"
	"strings"

	"github.com/banger-dev/banger/internal/errdefs"
)

const namedInError = 8

// Resolve returns the item that reference names: by its exact name, else by its exact id, else by a prefix of a name
// or id that no other item shares. kind ("image") is the singular noun of the messages.
// The errors are of the classes errdefs.ErrInvalid (no reference), errdefs.ErrAmbiguous and errdefs.ErrNotFound.
func Resolve[T any](kind string, items []T, key func(T) (id, name string), reference string) (T, error) {
	var none T
	if reference == "" {
		return none, errdefs.New(errdefs.ErrInvalid, "%s id or name is required", kind)
	}
	for _, exact := range []func(id, name string) bool{
		func(_, name string) bool { return name == reference },
		func(id, _ string) bool { return id == reference },
	} {
		if i := slices.IndexFunc(items, func(t T) bool { return exact(key(t)) }); i >= 0 {
			return items[i], nil
		}
	}
	var found []T
	for _, item := range items {
		if id, name := key(item); strings.HasPrefix(name, reference) || strings.HasPrefix(id, reference) {
			found = append(found, item)
		}
	}
	switch len(found) {
	case 0:
		return none, errdefs.WithHint(errdefs.New(errdefs.ErrNotFound, "%s %q not found", kind, reference),
			"banger %s list shows what there is", kind)
	case 1:
		return found[0], nil
	}
	return none, errdefs.WithHint(
		errdefs.New(errdefs.ErrAmbiguous, "multiple %ss match %q: %s", kind, reference, names(found, key)),
		"give the whole name, or more of the id")
}

func names[T any](items []T, key func(T) (id, name string)) string {
	var all []string
	for _, item := range items {
		_, name := key(item)
		all = append(all, name)
	}
	slices.Sort(all)
	if len(all) > namedInError {
		all = append(all[:namedInError], "...")
	}
	return strings.Join(all, ", ")
}
