package httpapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/banger-dev/banger/api"
)

// The document is whole: it names every route of the protocol, and each reference in it leads somewhere.
func TestOpenAPI(t *testing.T) {
	data, err := OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths      map[string]map[string]json.RawMessage
		Components struct{ Schemas map[string]json.RawMessage }
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	for path, methods := range map[string][]string{
		api.RouteVersion: {http.MethodGet}, api.RouteShutdown: {http.MethodPost}, api.RouteDoctor: {http.MethodGet},
		api.RouteOperation: {http.MethodDelete},
		api.RouteVMs:       {http.MethodGet, http.MethodPost}, api.RouteVM: {http.MethodGet, http.MethodDelete},
		api.RouteVMStart: {http.MethodPost}, api.RouteVMStop: {http.MethodPost}, api.RouteVMRestart: {http.MethodPost},
		api.RouteVMKill: {http.MethodPost}, api.RouteVMConsole: {http.MethodGet}, api.RouteVMExec: {http.MethodPost},
		api.RouteImages: {http.MethodGet}, api.RouteImage: {http.MethodGet, http.MethodDelete}, api.RouteImageBuild: {http.MethodPost},
		api.RouteKernels: {http.MethodGet}, api.RouteKernel: {http.MethodGet, http.MethodDelete},
		api.RouteKernelPull: {http.MethodPost}, api.RouteKernelImport: {http.MethodPost},
	} {
		for _, method := range methods {
			operation := string(doc.Paths[path][strings.ToLower(method)])
			if operation == "" {
				t.Errorf("%s %s is missing", method, path)
			}
			if !strings.Contains(operation, `"default"`) {
				t.Errorf("%s %s does not say how it fails", method, path)
			}
		}
		if len(doc.Paths[path]) != len(methods) {
			t.Errorf("%s has %d methods, want %v", path, len(doc.Paths[path]), methods)
		}
	}
	for _, part := range strings.Split(string(data), `"$ref": "#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		if doc.Components.Schemas[name] == nil {
			t.Errorf("there is no schema %s", name)
		}
	}
}
