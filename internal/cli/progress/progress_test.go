package progress

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/banger-dev/banger/api"
)

// display returns a display on a buffer whose clock stands still until it is moved, and which is drawn by hand.
func display(mode Mode, width int) (d *Display, out *strings.Builder, clock *time.Time) {
	now := time.Unix(1000, 0)
	out = &strings.Builder{}
	d = &Display{out: out, mode: mode, width: func() int { return width }, now: func() time.Time { return now }}
	return d, out, &now
}

func TestPlain(t *testing.T) {
	d, out, clock := display(Plain, 80)
	task := d.Task("image build x")
	task.Report(api.Event{Stage: "download", Detail: "base"})
	for i := range 100 { // ten seconds of reports make three lines
		*clock = clock.Add(100 * time.Millisecond)
		task.Report(api.Event{Stage: "download", Detail: "base", Current: int64(i+1) << 20, Total: 100 << 20})
	}
	task.Report(api.Event{Warning: "slow mirror"})
	task.Report(api.Event{Stage: "download", Detail: "base", StageMS: 10000})
	want := `banger: image build x: download base
banger: image build x: download base 50% of 100MiB
banger: image build x: download base 100% of 100MiB
banger: image build x: warning: slow mirror
banger: image build x: download base: 10.0s
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestSilentStillWarns(t *testing.T) {
	d, out, _ := display(Silent, 80)
	task := d.Task("vm run x")
	task.Report(api.Event{Stage: "boot"})
	task.Report(api.Event{Warning: "no network"})
	task.Report(api.Event{Stage: "boot", StageMS: 5})
	if got := out.String(); got != "banger: vm run x: warning: no network\n" {
		t.Errorf("%q", got)
	}
}

func TestLive(t *testing.T) {
	d, out, clock := display(Live, 60)
	one, two := d.Task("vm start one"), d.Task("vm start two")
	one.Report(api.Event{Stage: "boot"})
	two.Report(api.Event{Stage: "copy", Detail: "disk", Current: 1 << 20, Total: 4 << 20})
	*clock = clock.Add(1500 * time.Millisecond)
	d.draw()
	first := "|   1.5s  vm start one: boot\r\n|   1.5s  vm start two: co...  [===          ] 25% of 4MiB"
	if diff := cmp.Diff(first, out.String()); diff != "" {
		t.Error(diff)
	}
	for _, line := range strings.Split(first, "\r\n") {
		if len(line) >= 60 {
			t.Errorf("a line of %d columns does not fit: %q", len(line), line)
		}
	}
	// A stage that ends leaves a line above the block, which is taken away first and drawn again.
	out.Reset()
	one.Report(api.Event{Stage: "boot", StageMS: 1600})
	d.draw()
	if diff := cmp.Diff("\r\x1b[2K\x1b[1A\x1b[2K    1.6s  vm start one: boot\n"+
		"|   1.5s  vm start two: co...  [===          ] 25% of 4MiB", out.String()); diff != "" {
		t.Error(diff)
	}
	// Other output is written where the block was.
	out.Reset()
	if err := d.Print(out, "one\n"); err != nil {
		t.Fatal(err)
	}
	d.Close()
	if got := out.String(); got != "\r\x1b[2Kone\n" {
		t.Errorf("%q", got)
	}
}

// Of stages that overlap, the one that began last is shown, also when another ends.
func TestOverlap(t *testing.T) {
	d, _, _ := display(Live, 80)
	task := d.Task("x")
	task.Report(api.Event{Stage: "outer"})
	task.Report(api.Event{Stage: "inner"})
	task.Report(api.Event{Stage: "outer", StageMS: 5})
	if task.stage != "inner" {
		t.Errorf("shows %q", task.stage)
	}
	task.Report(api.Event{Stage: "inner", StageMS: 5})
	if task.stage != "" {
		t.Errorf("still shows %q", task.stage)
	}
}

func TestBar(t *testing.T) {
	for _, test := range []struct {
		current, total int64
		want           string
	}{
		{0, 10, "[          ]"},
		{5, 10, "[=====     ]"},
		{10, 10, "[==========]"},
		{15, 10, "[==========]"},
		{1 << 61, 1 << 62, "[=====     ]"},
	} {
		if got := bar(test.current, test.total, 12); got != test.want {
			t.Errorf("bar(%d, %d) = %q, want %q", test.current, test.total, got, test.want)
		}
	}
}

func TestTook(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0ms", 999 * time.Millisecond: "999ms", 1500 * time.Millisecond: "1.5s", 90 * time.Second: "1m30s",
	} {
		if got := Took(d); got != want {
			t.Errorf("Took(%v) = %q, want %q", d, got, want)
		}
	}
}
