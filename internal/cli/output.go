package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// format is how a reading command prints.
type format struct {
	json  bool
	quiet bool
}

func (f *format) register(cmd *cobra.Command, quiet string) {
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	if quiet != "" {
		cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, quiet)
		cmd.MarkFlagsMutuallyExclusive("json", "quiet")
	}
}

// printJSON writes one document, indented.
func printJSON(w io.Writer, v any) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	return out.Encode(v)
}

// table is text in columns. Cells may be coloured.
type table struct {
	header []string
	rows   [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print writes the table with columns as wide as their widest cell. A table without rows is its header.
func (t *table) print(w io.Writer) error {
	widths := make([]int, len(t.header))
	all := append([][]string{t.header}, t.rows...)
	for _, row := range all {
		for i, cell := range row {
			widths[i] = max(widths[i], visible(cell))
		}
	}
	var out strings.Builder
	for _, row := range all {
		for i, cell := range row {
			out.WriteString(cell)
			if i < len(row)-1 {
				out.WriteString(strings.Repeat(" ", widths[i]-visible(cell)+2))
			}
		}
		out.WriteByte('\n')
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// visible counts the characters that a cell takes on the screen, without its colour.
func visible(cell string) int {
	n := utf8.RuneCountInString(cell)
	for {
		start := strings.Index(cell, "\x1b[")
		if start < 0 {
			return n
		}
		end := strings.IndexByte(cell[start:], 'm')
		if end < 0 {
			return n
		}
		n -= end + 1
		cell = cell[start+end+1:]
	}
}

// fields prints one `name  value` a line, leaving out what has no value.
func fields(w io.Writer, pairs ...[2]string) error {
	width := 0
	for _, p := range pairs {
		if p[1] != "" {
			width = max(width, len(p[0]))
		}
	}
	var out strings.Builder
	for _, p := range pairs {
		if p[1] != "" {
			fmt.Fprintf(&out, "%-*s  %s\n", width, p[0], p[1])
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// age says how long ago t was.
func age(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return coarse(time.Since(t)) + " ago"
}

// coarse writes a duration by its largest unit.
func coarse(d time.Duration) string {
	switch {
	case d < time.Second:
		return "0s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// stamp writes a time for people.
func stamp(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// brief shortens where something is from to what fits a table: without digests, and cut when it is still long. `show`
// and --json have all of it.
func brief(source string) string {
	const width = 40
	source, _, _ = strings.Cut(source, " ")
	source, _, _ = strings.Cut(source, "@sha256:")
	if runes := []rune(source); len(runes) > width {
		return string(runes[:width-3]) + "..."
	}
	return source
}
