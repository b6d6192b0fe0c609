package progress

import (
	"fmt"
	"strings"
	"time"

	"github.com/banger-dev/banger/internal/size"
)

// countable is the largest total that is taken for a number of items. Events do not say; no download is this small.
const countable = 4096

// amount says how much of the stage is done, or nothing when that is not known.
func (t *Task) amount() string {
	switch {
	case t.total > 0:
		return fmt.Sprintf("%.0f%% of %s", 100*float64(min(t.current, t.total))/float64(t.total), quantity(t.total, t.total))
	case t.current > 0:
		return quantity(t.current, t.current)
	}
	return ""
}

func quantity(n, scale int64) string {
	if scale <= countable {
		return fmt.Sprint(n)
	}
	return size.Format(n)
}

// bar draws current of total in width characters.
func bar(current, total int64, width int) string {
	inner := width - 2
	full := int(float64(min(current, total)) / float64(total) * float64(inner))
	return "[" + strings.Repeat("=", full) + strings.Repeat(" ", inner-full) + "]"
}

// Took writes how long something took.
func Took(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%dms", max(d, 0).Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
}
