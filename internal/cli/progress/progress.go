// Package progress shows what operations are doing on standard error: a block of lines that is drawn over and over on a
// terminal, plain lines elsewhere.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/banger-dev/banger/api"
	"github.com/banger-dev/banger/internal/cli/terminal"
)

const (
	frame = 100 * time.Millisecond // between two drawings
	// worthLine is how long a stage must take to be remembered on a terminal.
	worthLine = 50 * time.Millisecond
	// plainPace is the time between two lines about one stage where lines cannot be drawn over.
	plainPace = 5 * time.Second
	// longDetail is how much of a stage's detail is repeated at its end, in characters.
	longDetail = 40
)

// Mode is how a display shows things.
type Mode int

// The modes.
const (
	Silent Mode = iota // warnings only
	Plain
	Live
)

// ModeFor returns how progress is shown on f: live on a terminal that can move its cursor.
func ModeFor(f *os.File, quiet bool) Mode {
	switch {
	case quiet:
		return Silent
	case terminal.Is(f) && os.Getenv("TERM") != "dumb":
		return Live
	}
	return Plain
}

// Display shows any number of tasks. Its methods may be called from several goroutines.
type Display struct {
	out   io.Writer
	mode  Mode
	style terminal.Style
	width func() int // columns, of a live display
	now   func() time.Time

	mu    sync.Mutex
	tasks []*Task
	drawn int // lines of the block that are on the screen
	turn  int // of the spinner
	quit  chan struct{}
	done  chan struct{}
}

// New returns a display on f. Close it before anything else is written to the terminal.
func New(f *os.File, mode Mode) *Display {
	d := &Display{out: f, mode: mode, style: terminal.StyleOf(f), now: time.Now}
	d.width = func() int {
		if _, cols, ok := terminal.Size(f); ok {
			return int(cols)
		}
		return 80
	}
	if mode == Live {
		d.quit, d.done = make(chan struct{}), make(chan struct{})
		go d.animate()
	}
	return d
}

// Close takes the block off the screen. What has been said about finished stages stays.
func (d *Display) Close() {
	if d.quit != nil {
		close(d.quit)
		<-d.done
		d.quit = nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.erase()
	d.tasks = nil
}

// Print writes text, whole lines, to w so that it and the block do not mix where both are one terminal.
func (d *Display) Print(w io.Writer, text string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.erase()
	_, err := io.WriteString(w, text)
	return err
}

func (d *Display) animate() {
	defer close(d.done)
	tick := time.NewTicker(frame)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.mu.Lock()
			d.turn++
			d.draw()
			d.mu.Unlock()
		case <-d.quit:
			return
		}
	}
}

// draw writes the block in the place of the one before, in one write.
func (d *Display) draw() {
	var b strings.Builder
	b.WriteString(d.eraser())
	lines := 0
	for _, t := range d.tasks {
		if t.stage == "" {
			continue
		}
		if lines > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(cut(t.line(), d.width()-1))
		lines++
	}
	d.drawn = lines
	_, _ = io.WriteString(d.out, b.String()) // a terminal that is gone shows elsewhere
}

func (d *Display) erase() {
	_, _ = io.WriteString(d.out, d.eraser())
	d.drawn = 0
}

// eraser is what clears the block and puts the cursor at its start.
func (d *Display) eraser() string {
	if d.drawn == 0 {
		return ""
	}
	return "\r\x1b[2K" + strings.Repeat("\x1b[1A\x1b[2K", d.drawn-1)
}

// say writes one line that stays, above the block.
func (d *Display) say(line string) {
	d.erase()
	fmt.Fprintln(d.out, line)
}

// cut shortens a line to width characters, so that it takes one line of the screen.
func cut(line string, width int) string {
	runes := []rune(line)
	if len(runes) <= width || width < 4 {
		return line
	}
	return string(runes[:width-3]) + "..."
}

// Task is one operation on one subject.
type Task struct {
	display *Display
	name    string

	stage, detail  string
	current, total int64
	began, said    time.Time
}

// Task adds a task. name is like `vm start web`.
func (d *Display) Task(name string) *Task {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := &Task{display: d, name: name}
	d.tasks = append(d.tasks, t)
	return t
}

// Done takes the task off the block.
func (t *Task) Done() {
	t.display.mu.Lock()
	defer t.display.mu.Unlock()
	t.stage = ""
}

// Report shows an event. It is an api.Progress.
func (t *Task) Report(e api.Event) {
	d := t.display
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case e.Warning != "":
		d.say(fmt.Sprintf("banger: %s: warning: %s", t.name, e.Warning))
	case e.StageMS > 0:
		t.ended(e)
	default:
		t.goesOn(e)
	}
}

func (t *Task) goesOn(e api.Event) {
	d, now := t.display, t.display.now()
	fresh := t.stage != e.Stage || t.detail != e.Detail
	if fresh {
		t.stage, t.detail, t.began = e.Stage, e.Detail, now
	}
	t.current, t.total = e.Current, e.Total
	if d.mode == Plain && (fresh || now.Sub(t.said) >= plainPace) {
		t.said = now
		d.say(fmt.Sprintf("banger: %s: %s", t.name, join(t.what(), t.amount())))
	}
}

func (t *Task) ended(e api.Event) {
	d, took := t.display, time.Duration(e.StageMS)*time.Millisecond
	what := join(e.Stage, cut(e.Detail, longDetail))
	if d.mode == Plain {
		d.say(fmt.Sprintf("banger: %s: %s: %s", t.name, what, Took(took)))
	}
	if d.mode == Live && took >= worthLine {
		d.say(d.style.Faint(fmt.Sprintf("  %6s  %s", Took(took), cut(t.name+": "+what, d.width()-12))))
	}
	if t.stage == e.Stage && t.detail == e.Detail { // stages may overlap: the one that began last is shown
		t.stage, t.detail = "", ""
	}
}

func (t *Task) what() string { return join(t.stage, t.detail) }

// line is the task's line in the block.
func (t *Task) line() string {
	d := t.display
	line := fmt.Sprintf("%c %6s  %s: %s", `|/-\`[d.turn%4], Took(d.now().Sub(t.began)), t.name, t.what())
	if t.total <= 0 {
		return join(line, t.amount())
	}
	bar := bar(t.current, t.total, max(10, min(30, d.width()/4)))
	return cut(line, d.width()-len(bar)-len(t.amount())-5) + "  " + bar + " " + t.amount()
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + " " + b
}
