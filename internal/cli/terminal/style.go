package terminal

import "os"

// Style writes text with colour where it is wanted.
type Style struct{ colour bool }

// StyleOf returns the style for f: colour on a terminal that can show it, unless NO_COLOR is set (no-color.org).
func StyleOf(f *os.File) Style {
	return Style{colour: Is(f) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// Good marks what is as it should be.
func (s Style) Good(text string) string { return s.paint("32", text) }

// Doubtful marks what deserves a look.
func (s Style) Doubtful(text string) string { return s.paint("33", text) }

// Bad marks what is wrong.
func (s Style) Bad(text string) string { return s.paint("31", text) }

// Faint marks what matters less.
func (s Style) Faint(text string) string { return s.paint("2", text) }

func (s Style) paint(code, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
