package strictjson_test

import (
	"strings"
	"testing"

	"github.com/banger-dev/banger/internal/strictjson"
)

func TestUnmarshal(t *testing.T) {
	for name, test := range map[string]struct{ data, err string }{
		"good":                  {`{"a": 1, "b": {"x": [{"y": 1}, {"y": 2}]}}`, ""},
		"white space after":     {"{}\n\n", ""},
		"unknown key":           {`{"c": 1}`, `unknown field "c"`},
		"a key twice":           {`{"a": 1, "a": 2}`, `"a" is there twice`},
		"a key twice below":     {`{"b": {"x": 1, "x": 2}}`, `"x" is there twice`},
		"a key twice in a list": {`{"b": {"x": [{"y": 1, "y": 2}]}}`, `"y" is there twice`},
		"two values":            {`{} {}`, "follows the end"},
		"garbage after":         {`{} x`, "follows the end"},
		"nothing":               {``, "unexpected EOF"},
		"cut":                   {`{"a": `, "unexpected EOF"},
		"another type":          {`{"a": "1"}`, "cannot unmarshal"},
	} {
		t.Run(name, func(t *testing.T) {
			var v struct {
				A int            `json:"a"`
				B map[string]any `json:"b"`
			}
			err := strictjson.Unmarshal([]byte(test.data), &v)
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("got %v, want %q", err, test.err)
			}
		})
	}
}
