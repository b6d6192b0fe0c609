package console

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

const maxLine = 512 // bytes of a line in a report

// Lines returns at most the last n lines of text that are not empty, fit for a report: without line ends, escape
// sequences and control bytes, and cut when very long.
func Lines(text []byte, n int) []string {
	var lines []string
	for len(text) > 0 && len(lines) < n {
		text = bytes.TrimRight(text, "\r\n")
		at := bytes.LastIndexByte(text, '\n')
		if line := Clean(text[at+1:]); line != "" {
			lines = append(lines, line)
		}
		text = text[:max(at, 0)]
	}
	for i, j := 0, len(lines)-1; i < j; i, j = i+1, j-1 {
		lines[i], lines[j] = lines[j], lines[i]
	}
	return lines
}

// Clean returns line as printable text: what a guest writes must not drive the terminal that a report is shown on.
func Clean(line []byte) string {
	if len(line) > maxLine {
		line = line[:maxLine]
	}
	var b strings.Builder
	for len(line) > 0 {
		if n := escape(line); n > 0 {
			line = line[n:]
			continue
		}
		r, size := utf8.DecodeRune(line)
		line = line[size:]
		switch {
		case r == '\t':
			b.WriteByte(' ')
		case r < ' ', r >= 0x7f && r < 0xa0: // C0, DEL and C1 controls
		default:
			b.WriteRune(r)
		}
	}
	return strings.TrimSpace(b.String())
}

// escape returns the length of the control sequence (ECMA-48, section 5.4) that line begins with, or 0.
func escape(line []byte) int {
	if len(line) < 2 || line[0] != 0x1b || line[1] != '[' {
		return 0
	}
	for i := 2; i < len(line); i++ {
		if line[i] >= 0x40 && line[i] <= 0x7e {
			return i + 1
		}
	}
	return len(line)
}

// lastWords returns text up to the message with which a kernel gave up: what it says after that, a trace of its own
// calls, is long and explains little. Without such a message it returns all of text.
func lastWords(text []byte) []byte {
	at := bytes.LastIndex(text, []byte(panicMessage))
	if at < 0 {
		return text
	}
	if end := bytes.IndexByte(text[at:], '\n'); end >= 0 {
		return text[:at+end]
	}
	return text
}

const panicMessage = "Kernel panic - not syncing"

// Panic returns the last message with which a Linux kernel gave up in text, without its time stamp, or "".
func Panic(text []byte) string {
	at := bytes.LastIndex(text, []byte(panicMessage))
	if at < 0 {
		return ""
	}
	line, _, _ := bytes.Cut(text[at:], []byte{'\n'})
	return Clean(line)
}
