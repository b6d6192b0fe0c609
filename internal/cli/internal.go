package cli

import (
	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/internal/httpapi"
)

// newInternal holds what banger's own build uses.
func newInternal(a *app) *cobra.Command {
	noun := newNoun("internal", "What banger's own build uses, and makers of bundles", newInternalOpenAPI(a), newInternalCLIDoc(a),
		newInternalMakeBundle(a), newInternalWorkSeed(a))
	noun.Hidden = true
	return noun
}

func newInternalOpenAPI(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "openapi", Short: "Print the OpenAPI document of the daemon's API", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			document, err := httpapi.OpenAPI()
			if err != nil {
				return fail(operation(cmd), "", err)
			}
			_, err = a.out.Write(document)
			return err
		},
	}
}
