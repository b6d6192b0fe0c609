package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
)

// OpenAPI returns the document of the API, indented.
func OpenAPI() ([]byte, error) {
	s := New(Services{}, slog.New(slog.DiscardHandler)) // handlers are registered, not called
	document, err := json.Marshal(s.api.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("make the OpenAPI document: %w", err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, document, "", "  "); err != nil {
		return nil, fmt.Errorf("make the OpenAPI document: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
