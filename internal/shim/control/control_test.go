package control

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/errdefs"
)

func TestErrorsKeepTheirClassAcrossASocket(t *testing.T) {
	tests := map[string]struct {
		err   error
		class error
		hint  string
	}{
		"class":          {errdefs.New(errdefs.ErrTimeout, "slow"), errdefs.ErrTimeout, ""},
		"class and hint": {errdefs.WithHint(errdefs.New(errdefs.ErrExhausted, "full"), "make 100%% free"), errdefs.ErrExhausted, "make 100% free"},
		"wrapped":        {fmt.Errorf("stop: %w", errdefs.New(errdefs.ErrState, "not now")), errdefs.ErrState, ""},
		"no class":       {errors.New("odd"), nil, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			WriteProblem(w, tt.err)
			got := readProblem(w.Result())
			if got.Error() != tt.err.Error() || errdefs.Class(got) != tt.class || errdefs.Hint(got) != tt.hint { //nolint:errorlint // the classes are sentinels
				t.Errorf("got %v, class %v, hint %q", got, errdefs.Class(got), errdefs.Hint(got))
			}
		})
	}
	if Problem(nil) != nil || Unpack(nil) != nil {
		t.Error("no error is an error")
	}
	other := &http.Response{Status: "502 Bad Gateway", Body: http.NoBody}
	if err := readProblem(other); err == nil || errdefs.Class(err) != nil {
		t.Errorf("an answer that is no problem: %v", err)
	}
}

func TestFiles(t *testing.T) {
	dir := Dir(t.TempDir())
	var spec Spec
	if err := Read(dir.Spec(), &spec); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("Read of nothing = %v", err)
	}
	want := Spec{ID: "id", Name: "box", Memory: 1 << 30}
	for name, write := range map[string]func(string, any) error{"durable": Write, "volatile": WriteVolatile} {
		t.Run(name, func(t *testing.T) {
			if err := write(dir.Spec(), want); err != nil {
				t.Fatal(err)
			}
			var got Spec
			if err := Read(dir.Spec(), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if entries, _ := os.ReadDir(string(dir)); len(entries) != 1 {
				t.Errorf("%d files are left", len(entries))
			}
		})
	}
	if err := os.WriteFile(dir.Exit(), []byte(`{"reason":`), 0o600); err != nil {
		t.Fatal(err)
	}
	var exit Exit
	if err := Read(dir.Exit(), &exit); err == nil || errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("Read of a torn file = %v", err)
	}
}

func TestNobodyServes(t *testing.T) {
	dir := Dir(t.TempDir())
	if _, err := Dial(t.Context(), dir); !errors.Is(err, ErrGone) {
		t.Errorf("Dial = %v", err)
	}
	if _, err := NewClient(dir).State(t.Context()); !errors.Is(err, ErrGone) {
		t.Errorf("State = %v", err)
	}
}

func TestStatesShareNothing(t *testing.T) {
	a := State{Stages: []Stage{{Name: StageVMM}}, Warnings: []string{"w"}, Exit: &Exit{VMExit: api.VMExit{Reason: "stopped"}}}
	b := a.Clone()
	b.Stages[0].Name, b.Warnings[0] = "x", "x"
	if a.Stages[0].Name != StageVMM || a.Warnings[0] != "w" {
		t.Errorf("changed through the clone: %+v", a)
	}
}
