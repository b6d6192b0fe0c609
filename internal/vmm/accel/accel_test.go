package accel

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/banger-dev/banger/internal/errdefs"
	"github.com/banger-dev/banger/internal/vmm/vmmtest"
)

func TestChooseWithoutAProbe(t *testing.T) {
	if _, err := Choose(context.Background(), "hax", t.TempDir()); !errors.Is(err, errdefs.ErrInvalid) {
		t.Errorf("unknown name: %v, want ErrInvalid", err)
	}
	if v, err := Choose(context.Background(), TCG, t.TempDir()); err != nil || v.Accelerator != TCG || v.Reason == "" {
		t.Errorf("tcg: %+v, %v", v, err)
	}
}

func TestOpenable(t *testing.T) {
	dir := t.TempDir()
	forbidden := filepath.Join(dir, "forbidden")
	if err := os.WriteFile(forbidden, nil, 0); err != nil {
		t.Fatal(err)
	}
	for _, one := range []struct {
		name, device, hint string
		unprivileged       bool
	}{
		{name: "absent", device: filepath.Join(dir, "absent"), hint: "firmware"},
		{name: "no permission", device: forbidden, hint: "group kvm", unprivileged: true},
		{name: "no device", device: dir, hint: noHint},
	} {
		t.Run(one.name, func(t *testing.T) {
			if one.unprivileged && os.Getuid() == 0 {
				t.Skip("root may open everything")
			}
			r, ok := openable(one.device)
			if ok || r.Works || r.Reason == "" || !strings.Contains(r.Hint, one.hint) {
				t.Errorf("got %+v, %v; want a hint with %q", r, ok, one.hint)
			}
		})
	}
}

// TestProbe cannot know the verdict, but there must be one, in bounded time, that does not change.
func TestProbe(t *testing.T) {
	vmmtest.RequireVM(t)
	dir, start := t.TempDir(), time.Now()
	r := Probe(context.Background(), dir)
	t.Logf("%+v after %s", r, time.Since(start).Round(time.Millisecond))
	if r.Works == (r.Reason != "") {
		t.Errorf("got %+v, want either a verdict or a reason against", r)
	}
	if took := time.Since(start); took > wallLimit+2*time.Second {
		t.Errorf("took %s", took)
	}
	if os.Getenv("BANGER_TEST_KVM") == "1" && !r.Works {
		t.Errorf("KVM does not work here: %s", r.Reason)
	}
	if again := Probe(context.Background(), dir); again != r {
		t.Errorf("got %+v, then %+v", r, again)
	}
}
